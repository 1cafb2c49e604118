//! What the cashiers send their requests to: a proxy, or in tests anything that answers.

use bytes::Bytes;
use http::uri::{Authority, Scheme, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::time::Duration;

/// Something that answers requests whose target is a path.
#[async_trait::async_trait]
pub trait Front: Send + Sync {
    /// The whole answer.
    ///
    /// # Errors
    /// There is none, and why.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String>;
}

/// A server, over HTTP/1.1 with connections that are kept and shared by all cashiers.
pub struct Server {
    authority: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Longer than any answer of the sample API takes.
const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    /// The server at `address`.
    pub fn at(address: SocketAddr) -> Self {
        let authority = address.to_string().parse().expect("an address and a port are an authority");
        let mut connector = HttpConnector::new();
        // Small requests must not wait for the acknowledgement of earlier ones.
        connector.set_nodelay(true);
        Server { authority, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    async fn exchange(&self, mut request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String> {
        let mut target = request.uri().clone().into_parts();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(target).map_err(|error| error.to_string())?;
        let response = self.client.request(request.map(Full::new)).await.map_err(|error| in_words(&error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| in_words(&error))?.to_bytes();
        Ok(http::Response::from_parts(head, body))
    }
}

#[async_trait::async_trait]
impl Front for Server {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String> {
        match tokio::time::timeout(PATIENCE, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}

/// An error and what it came from: the client's own text alone names no cause.
fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
