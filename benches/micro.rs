//! The parts by themselves, in memory: `cargo bench --bench micro`.
//!
//! The layer around a service that does nothing; reads and writes of the stream beside those of
//! tokio-rustls; and teardowns, one alone and thousands at once, beside tokio-rustls' shutdown,
//! which neither half-closes nor drains.

#![allow(missing_docs, reason = "criterion's macros")]

use std::{
    convert::Infallible,
    io::IoSlice,
    time::{Duration, Instant},
};

use benches::rig::Certificate;
use bytes::Bytes;
use criterion::{
    BatchSize, Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use graceful_tls::{GracefulStream, GracefulTls, GracefulTlsLayer};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    runtime::Runtime,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, rustls::pki_types::ServerName, server};
use tower::{Layer, Service, ServiceExt, service_fn};

/// One record of TLS.
const RECORD: usize = 16 * 1024;

type Client = client::TlsStream<DuplexStream>;

/// Makes pairs of handshaken streams. After the first, sessions are resumed over TLS 1.2, which
/// takes no public-key operation: the benches need thousands.
struct Pairs {
    runtime: Runtime,
    tls: GracefulTls,
    plain: TlsAcceptor,
    connector: TlsConnector,
}

impl Pairs {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let certificate = Certificate::new().unwrap();
        Self {
            runtime,
            tls: certificate.graceful().unwrap(),
            plain: certificate.acceptor(),
            connector: certificate.tls12_connector().unwrap(),
        }
    }

    async fn connect(&self, io: DuplexStream) -> Client {
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, io).await.unwrap()
    }

    async fn ours(&self) -> (Client, GracefulStream<DuplexStream>) {
        let (near, far) = duplex(4 * RECORD);
        let acceptor = self.tls.acceptor();
        let (client, server) = tokio::join!(self.connect(near), acceptor.accept(far));
        (client, server.unwrap())
    }

    async fn plain(&self) -> (Client, server::TlsStream<DuplexStream>) {
        let (near, far) = duplex(4 * RECORD);
        let (client, server) = tokio::join!(self.connect(near), self.plain.accept(far));
        (client, server.unwrap())
    }
}

fn layer(c: &mut Criterion) {
    let pairs = Pairs::new();
    let mut group = c.benchmark_group("layer");
    let (_client, stream) = pairs.runtime.block_on(pairs.ours());
    let connection = stream.connection();
    let noop = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
    });
    let request = || Request::new(Empty::<Bytes>::new());
    let with_connection = || {
        let mut request = request();
        request.extensions_mut().insert(connection.clone());
        request
    };
    group.bench_function("none", |b| call(b, &pairs.runtime, noop, request));
    group.bench_function("none, extension inserted", |b| {
        call(b, &pairs.runtime, noop, with_connection);
    });
    let layered = GracefulTlsLayer.layer(noop);
    group.bench_function("without a connection", |b| {
        call(b, &pairs.runtime, layered, request)
    });
    group.bench_function("with a connection", |b| {
        call(b, &pairs.runtime, layered, with_connection);
    });
    group.finish();
}

fn call<S, B>(
    bencher: &mut Bencher<'_>,
    runtime: &Runtime,
    mut service: S,
    request: impl Fn() -> Request<Empty<Bytes>>,
) where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Unpin,
{
    bencher.iter(|| {
        runtime.block_on(async {
            let answer = service.ready().await?.call(request()).await?;
            answer
                .into_body()
                .collect()
                .await
                .map(|body| body.to_bytes().len())
        })
    });
}

fn stream(c: &mut Criterion) {
    let pairs = Pairs::new();
    let mut group = c.benchmark_group("stream");
    group.throughput(Throughput::Bytes(RECORD as u64));
    let mut ours = pairs.runtime.block_on(pairs.ours());
    let mut plain = pairs.runtime.block_on(pairs.plain());
    let runtime = &pairs.runtime;
    let block = vec![b'x'; RECORD];
    group.bench_function("read/tokio-rustls", |b| {
        b.iter(|| runtime.block_on(pass(&mut plain.0, &mut plain.1, &block)));
    });
    group.bench_function("read/graceful-tls", |b| {
        b.iter(|| runtime.block_on(pass(&mut ours.0, &mut ours.1, &block)));
    });
    group.bench_function("write/tokio-rustls", |b| {
        b.iter(|| runtime.block_on(pass(&mut plain.1, &mut plain.0, &block)));
    });
    group.bench_function("write/graceful-tls", |b| {
        b.iter(|| runtime.block_on(pass(&mut ours.1, &mut ours.0, &block)));
    });
    group.bench_function("write vectored/tokio-rustls", |b| {
        b.iter(|| runtime.block_on(pass_vectored(&mut plain.1, &mut plain.0, &block)));
    });
    group.bench_function("write vectored/graceful-tls", |b| {
        b.iter(|| runtime.block_on(pass_vectored(&mut ours.1, &mut ours.0, &block)));
    });
    group.finish();
}

async fn pass(
    from: &mut (impl AsyncWrite + Unpin),
    to: &mut (impl AsyncRead + Unpin),
    block: &[u8],
) {
    from.write_all(block).await.unwrap();
    from.flush().await.unwrap();
    receive(to, block.len()).await;
}

/// A head and a body, as hyper writes them.
async fn pass_vectored(
    from: &mut (impl AsyncWrite + Unpin),
    to: &mut (impl AsyncRead + Unpin),
    block: &[u8],
) {
    let (mut head, mut body) = block.split_at(128);
    while !body.is_empty() {
        let n = from
            .write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
            .await
            .unwrap();
        let of_head = n.min(head.len());
        head = &head[of_head..];
        body = &body[n - of_head..];
    }
    from.flush().await.unwrap();
    receive(to, block.len()).await;
}

async fn receive(to: &mut (impl AsyncRead + Unpin), mut left: usize) {
    let mut buf = [0; RECORD];
    while left > 0 {
        left -= to.read(&mut buf[..left.min(RECORD)]).await.unwrap();
    }
}

fn teardown(c: &mut Criterion) {
    let pairs = Pairs::new();
    let mut group = c.benchmark_group("teardown");
    group.bench_function("one/tokio-rustls", |b| {
        b.iter_batched(
            || pairs.runtime.block_on(pairs.plain()),
            |(client, server)| pairs.runtime.block_on(end(client, server)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("one/graceful-tls", |b| {
        b.iter_batched(
            || pairs.runtime.block_on(pairs.ours()),
            |(client, server)| pairs.runtime.block_on(end(client, server)),
            BatchSize::SmallInput,
        );
    });
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(1));
    group.measurement_time(Duration::from_millis(1));
    for n in [1_000, 10_000] {
        group.throughput(Throughput::Elements(n));
        group.bench_with_input(BenchmarkId::new("at once/tokio-rustls", n), &n, |b, &n| {
            b.iter_custom(|iters| pairs.runtime.block_on(at_once(iters, n, || pairs.plain())));
        });
        group.bench_with_input(BenchmarkId::new("at once/graceful-tls", n), &n, |b, &n| {
            b.iter_custom(|iters| pairs.runtime.block_on(at_once(iters, n, || pairs.ours())));
        });
    }
    group.finish();
}

/// The server shuts down, the client answers and goes.
async fn end(mut client: Client, mut server: impl AsyncWrite + Unpin) {
    let answer = async {
        let _ = client.read(&mut [0; 64]).await;
        let _ = client.shutdown().await;
        drop(client);
    };
    let _ = tokio::join!(server.shutdown(), answer);
}

/// The time that `n` ends at once take, without making what is to be ended.
async fn at_once<S: AsyncWrite + Unpin + Send + 'static>(
    iters: u64,
    n: u64,
    make: impl AsyncFn() -> (Client, S),
) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..iters {
        let mut open = Vec::new();
        for _ in 0..n {
            open.push(make().await);
        }
        let begun = Instant::now();
        let ends: tokio::task::JoinSet<()> = open
            .into_iter()
            .map(|(client, server)| end(client, server))
            .collect();
        ends.join_all().await;
        took += begun.elapsed();
    }
    took
}

criterion_group!(benches, layer, stream, teardown);
criterion_main!(benches);
