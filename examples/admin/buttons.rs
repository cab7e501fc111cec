//! What the buttons do: POST, with the token, and from the page itself.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use graceful_tls::{GracefulTls, Phase};
use serde::{Deserialize, Serialize};

use crate::web::Admin;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Button {
    Shutdown,
    Handover,
    Now,
    Resume,
}

/// What a button has come to.
#[derive(Serialize)]
struct Pressed {
    phase: Phase,
}

pub(crate) async fn press(
    State(admin): State<Admin>,
    Path(button): Path<Button>,
    headers: HeaderMap,
) -> Response {
    if !is_from_here(&headers) {
        return (StatusCode::FORBIDDEN, "from another site\n").into_response();
    }
    if !admin.token.is_in(&headers) {
        let wanted = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (
            StatusCode::UNAUTHORIZED,
            wanted,
            "the token is missing or wrong\n",
        )
            .into_response();
    }
    println!("pressed on the admin page: {button:?}");
    let status = match button.press(&admin.tls) {
        true => StatusCode::OK,
        false => StatusCode::CONFLICT,
    };
    let phase = admin.tls.phase();
    (status, Json(Pressed { phase })).into_response()
}

impl Button {
    /// Whether it has come to what it says. What has begun is not begun again.
    fn press(self, tls: &GracefulTls) -> bool {
        let serving = tls.phase() == Phase::Serving;
        match self {
            Self::Shutdown => tls.shutdown(),
            Self::Handover => tls.handover(),
            Self::Now => tls.shutdown_now(),
            Self::Resume => return tls.resume(),
        }
        serving || matches!(self, Self::Now)
    }
}

/// A browser says which site a POST is from. Another site could not send the token without asking first,
/// and is not answered; this is the second lock.
fn is_from_here(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    headers.get(header::ORIGIN).is_none_or(|origin| {
        let origin = origin.as_bytes().strip_prefix(b"http://");
        origin.is_some() && origin == host
    })
}
