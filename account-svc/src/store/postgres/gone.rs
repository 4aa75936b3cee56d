//! Pictures that are to be deleted, in Postgres.

use super::{PostgresAccounts, schema::picture_gone};
use crate::store::{Error, gone::GonePictures};
use async_trait::async_trait;
use diesel::{ExpressionMethods, QueryDsl};
use diesel_async::RunQueryDsl;

#[async_trait]
impl GonePictures for PostgresAccounts {
    async fn note_gone(&self, picture: String, at: i64) -> Result<(), Error> {
        let row = (picture_gone::picture.eq(picture), picture_gone::at.eq(at));
        let new = diesel::insert_into(picture_gone::table).values(row).on_conflict_do_nothing();
        new.execute(&mut self.connection().await?).await?;
        Ok(())
    }

    async fn gone(&self, before: i64, limit: u32) -> Result<Vec<String>, Error> {
        let oldest = picture_gone::table.filter(picture_gone::at.lt(before)).order(picture_gone::at);
        let pictures = oldest.limit(limit.into()).select(picture_gone::picture);
        Ok(pictures.load(&mut self.connection().await?).await?)
    }

    async fn deleted(&self, picture: String) -> Result<(), Error> {
        diesel::delete(picture_gone::table.find(picture)).execute(&mut self.connection().await?).await?;
        Ok(())
    }
}
