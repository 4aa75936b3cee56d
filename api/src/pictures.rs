//! Pictures: taken from people who are logged in, given to everybody who knows their random ids, as `<img>` has no token.

use crate::{
    Shared,
    accounts::{find, nobody},
    auth::Caller,
    bodies::{self, Held, Most},
    problem::{Params, Path, Problem, invalid},
    whole::whole,
};
use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use madang_mesh::status::from_status;
use madang_proto::account::v1::{DeletePictureRequest, GetPictureRequest, StorePictureRequest, UpdateProfileRequest};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// What is read of a picture; also over a slow line.
const MOST: Most = Most {
    bytes: 5 << 20,
    too_large: "a picture takes at most 5 MiB: make it smaller",
    time: Duration::from_secs(60),
    late: "the picture did not come within 60 s",
};
/// For good: another picture has another id.
const CACHED: &str = "public, max-age=31536000, immutable";

/// Keeps an uploaded picture; its id.
pub(crate) async fn keep(shared: &mut Shared, body: Body, held: &Held) -> Result<String, Problem> {
    let image = bodies::read(body, held, MOST).await?;
    if image.is_empty() {
        return Err(invalid("the body must be a JPEG, PNG or WebP file"));
    }
    Ok(shared.account.store_picture(StorePictureRequest { image: image.into() }).await?.into_inner().picture)
}

/// Shows another picture, or none; the one that it replaces is forgotten. A picture that may not be shown is not kept.
async fn show(shared: &mut Shared, user: String, picture: String) -> Result<(), Problem> {
    // An account-svc of the version before does not say what was replaced.
    let before = find(shared, vec![user.clone()]).await?.pop().ok_or_else(nobody)?.picture;
    let request = UpdateProfileRequest { user, picture: Some(picture.clone()), ..UpdateProfileRequest::default() };
    let shown = shared.account.update_profile(request).await;
    let gone = match &shown {
        Ok(answer) => answer.get_ref().picture_before.clone().unwrap_or(before),
        // Whether it is shown is not known.
        Err(status) if from_status(status).reason.retryable() => String::new(),
        Err(_) => picture,
    };
    forget(shared, gone).await?;
    shown?;
    Ok(())
}

/// Forgets a picture that nothing shows any more; none if there is none.
pub(crate) async fn forget(shared: &mut Shared, picture: String) -> Result<(), Problem> {
    if !picture.is_empty() {
        shared.account.delete_picture(DeletePictureRequest { picture }).await?;
    }
    Ok(())
}

pub(crate) async fn put_mine(
    State(mut shared): State<Shared>,
    Caller(caller): Caller,
    Extension(held): Extension<Held>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    whole(async move {
        let picture = keep(&mut shared, body, &held).await?;
        show(&mut shared, caller.user.to_string(), picture.clone()).await?;
        Ok(Json(json!({ "picture": picture })))
    })
    .await
}

pub(crate) async fn delete_mine(
    State(mut shared): State<Shared>,
    Caller(caller): Caller,
) -> Result<StatusCode, Problem> {
    whole(async move { show(&mut shared, caller.user.to_string(), String::new()).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which size.
#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    size: u32,
}

pub(crate) async fn get(
    State(mut shared): State<Shared>,
    Path(picture): Path<String>,
    Params(Wanted { size }): Params<Wanted>,
) -> Result<Response, Problem> {
    let image = shared.account.get_picture(GetPictureRequest { picture, size }).await?.into_inner().image;
    // Whatever a browser makes of the bytes, it takes them for nothing but a picture.
    let headers = [("content-type", "image/jpeg"), ("cache-control", CACHED), ("x-content-type-options", "nosniff")];
    Ok((headers, image).into_response())
}
