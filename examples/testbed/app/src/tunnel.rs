//! CONNECT: a tunnel that echoes, and half-closes after the client has.

use std::io;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy, split};

/// Opens a tunnel, for it names no path that could be routed (RFC 9112 3.2.3); anything else is
/// not there.
pub async fn or_not_found(mut request: Request<Body>) -> Response {
    if request.method() != Method::CONNECT {
        return (StatusCode::NOT_FOUND, "there is nothing here\n").into_response();
    }
    tokio::spawn(echo(hyper::upgrade::on(&mut request)));
    StatusCode::OK.into_response()
}

async fn echo(upgrade: OnUpgrade) -> io::Result<()> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let (mut from, mut to) = split(TokioIo::new(upgraded));
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}
