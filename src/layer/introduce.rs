//! Tells a request what the frameworks' handlers ask for of its connection.
//!
//! A handler that was written for another TLS server should not have to be changed: axum's asks for
//! `ConnectInfo<SocketAddr>`, tonic's for `request.remote_addr()` and `request.peer_certs()`. Each
//! costs an allocation a request: so axum's is for services that answer with axum's body, tonic's are
//! for gRPC, and [`Builder::connect_info`](crate::Builder::connect_info) turns them off. What somebody
//! has put into the request before stays.

use std::{marker::PhantomData, mem};

use http::{Extensions, Request, Version, header::CONTENT_TYPE};

use crate::connection::TlsConnection;

/// Puts into `request` what handlers look for besides [`TlsConnection`] itself, of a service that
/// answers with bodies of type `R`.
#[inline]
pub(crate) fn introduce<R: 'static, B>(request: &mut Request<B>, connection: &TlsConnection) {
    // Taken out, for who lends the request itself has it moved twice more.
    let mut extensions = mem::take(request.extensions_mut());
    put::<R>(&mut extensions, connection, is_grpc(request));
    *request.extensions_mut() = extensions;
}

fn put<R: 'static>(extensions: &mut Extensions, connection: &TlsConnection, is_grpc: bool) {
    // No feature asks for all of them.
    let _ = (&extensions, connection, is_grpc, PhantomData::<R>);
    #[cfg(feature = "axum")]
    if std::any::TypeId::of::<R>() == std::any::TypeId::of::<::axum::body::Body>() {
        axum(extensions, connection);
    }
    #[cfg(feature = "tonic")]
    if is_grpc {
        tonic(extensions, connection);
    }
}

/// Whether a request may be gRPC, where that matters.
#[inline]
fn is_grpc<B>(request: &Request<B>) -> bool {
    // Not by `get`, for the same reason.
    let mut fields = request.headers().iter();
    cfg!(feature = "tonic")
        && request.version() == Version::HTTP_2
        && fields.any(|(name, value)| {
            name == CONTENT_TYPE && value.as_bytes().starts_with(b"application/grpc")
        })
}

#[cfg(feature = "axum")]
fn axum(extensions: &mut Extensions, connection: &TlsConnection) {
    use ::axum::extract::ConnectInfo;
    use std::net::SocketAddr;

    if let Some(remote) = connection.remote_addr() {
        extensions.get_or_insert_with(|| ConnectInfo::<SocketAddr>(remote));
    }
}

#[cfg(feature = "tonic")]
fn tonic(extensions: &mut Extensions, connection: &TlsConnection) {
    use ::tonic::transport::server::TcpConnectInfo;

    extensions.get_or_insert_with(|| TcpConnectInfo {
        local_addr: connection.local_addr(),
        remote_addr: connection.remote_addr(),
    });
    if let Some(info) = connection.tonic() {
        extensions.get_or_insert_with(|| info.clone());
    }
}
