//! [`Layered`]: the service of one connection, with nothing left to forget.

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    connection::{TlsConnection, Tracking},
    layer::{Asked, GracefulTlsBody, GracefulTlsFuture, introduce, watched},
};

/// A service that is told of its connection with every request, inside of the layer.
#[derive(Clone, Debug)]
pub struct Layered<S> {
    inner: S,
    connection: TlsConnection,
    /// Whether requests are told of the connection in other words as well.
    introduces: bool,
}

impl<S> Layered<S> {
    pub(super) fn new(inner: S, mut connection: TlsConnection) -> Self {
        connection.see_layer();
        Self {
            introduces: connection.context().settings.connect_info,
            inner,
            connection,
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Layered<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body + 'static,
{
    type Response = Response<GracefulTlsBody<ResBody>>;
    type Error = S::Error;
    type Future = GracefulTlsFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(never)] // or the request is moved twice more
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let asked = Asked::new(&request, Some(&self.connection));
        request.extensions_mut().insert(self.connection.clone());
        if self.introduces {
            introduce::<ResBody, _>(&mut request, &self.connection);
        }
        if self.connection.is_watched() {
            return watched(&mut self.inner, request, asked, &self.connection);
        }
        let connection = Tracking::none(self.connection.clone());
        GracefulTlsFuture::new(self.inner.call(request), asked, Some(connection))
    }
}
