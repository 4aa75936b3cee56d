//! Who asks: the bearer token of a session that has not ended.

use crate::{Shared, bodies::Held, problem::Problem};
use axum::{extract::FromRequestParts, http::request::Parts};
use madang_mesh::token::{Claims, bad_token, bearer};

/// Who asks.
pub struct Caller(pub Claims);

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(bad_token)?;
        let claims = shared.verifier.verify(token, None).await?;
        if shared.verifier.ended(claims.session).await {
            return Err(bad_token().into());
        }
        if !parts.method.is_safe() {
            shared.limits.write(claims.user)?;
        }
        if let Some(held) = parts.extensions.get::<Held>() {
            held.is_of(claims.user);
        }
        Ok(Self(claims))
    }
}
