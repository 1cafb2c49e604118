//! A proxy, asked over one HTTP/2 connection without TLS (RFC 9113 §3.3).

use bytes::{Bytes, BytesMut};
use freshgate::cli::demo::front::Front;
use h2::client::SendRequest;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// All its requests are streams of one connection.
pub struct Http2 {
    connection: SendRequest<Bytes>,
}

/// Longer than any answer here takes.
const PATIENCE: Duration = Duration::from_secs(30);

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Http2 {
        let stream = TcpStream::connect(address).await.expect("the proxy listens");
        stream.set_nodelay(true).expect("TCP has that option");
        let (connection, driver) = h2::client::handshake(stream).await.expect("both speak HTTP/2");
        tokio::spawn(driver);
        Http2 { connection }
    }

    async fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, h2::Error> {
        let (mut head, body) = request.into_parts();
        // ":authority" is Host (RFC 9113 §8.3.1).
        let host = head.headers.remove("host");
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("shop.test");
        let target = format!("http://{host}{}", head.uri);
        head.uri = target.parse().expect("a path behind an authority is a URI");
        let mut connection = self.connection.clone().ready().await?;
        let (response, mut upload) = connection.send_request(http::Request::from_parts(head, ()), body.is_empty())?;
        if !body.is_empty() {
            upload.send_data(body, true)?;
        }
        let (head, mut content) = response.await?.into_parts();
        let mut whole = BytesMut::new();
        while let Some(data) = content.data().await {
            let data = data?;
            content.flow_control().release_capacity(data.len())?;
            whole.extend_from_slice(&data);
        }
        Ok(http::Response::from_parts(head, whole.freeze()))
    }
}

#[async_trait::async_trait]
impl Front for Http2 {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String> {
        match tokio::time::timeout(PATIENCE, self.exchange(request)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}
