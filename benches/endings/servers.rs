//! Who is compared.

/// A server, and how it is started.
#[derive(Debug)]
pub struct Server {
    /// The name of its results.
    pub id: &'static str,
    /// What a reader knows it by.
    pub name: &'static str,
    /// The example that has it, and what to tell that.
    pub example: &'static str,
    pub options: &'static str,
}

impl Server {
    /// Whether one of the words is in its name; no words name everyone.
    pub fn is_named(&self, words: &[String]) -> bool {
        let named =
            |word: &String| self.id.contains(word.as_str()) || self.name.contains(word.as_str());
        words.is_empty() || words.iter().any(named)
    }
}

/// Every time-out is the server's own, with two exceptions: shutdowns may take 10 s where that can
/// be set, and axum-server, which has none for a head, gets the 30 s that hyper has.
pub const SERVERS: [Server; 8] = [
    Server {
        id: "graceful-tls-serve",
        name: "graceful-tls, serve",
        example: "testbed",
        options: "--server hyper",
    },
    Server {
        id: "graceful-tls-axum",
        name: "graceful-tls, axum::serve",
        example: "testbed",
        options: "--server axum",
    },
    Server {
        id: "graceful-tls-axum-server",
        name: "graceful-tls, axum-server",
        example: "testbed",
        options: "--server axum-server",
    },
    Server {
        id: "hyper-util",
        name: "hyper-util, tokio-rustls",
        example: "peers",
        options: "--server bare-hyper",
    },
    Server {
        id: "axum-server",
        name: "axum-server",
        example: "peers",
        options: "--server axum-server --header-timeout-ms 30000",
    },
    Server {
        id: "tls-listener",
        name: "axum::serve, tls-listener",
        example: "peers",
        options: "--server tls-listener",
    },
    Server {
        id: "nginx",
        name: "nginx",
        example: "peers",
        options: "--server nginx",
    },
    Server {
        id: "apache",
        name: "Apache httpd",
        example: "peers",
        options: "--server apache",
    },
];
