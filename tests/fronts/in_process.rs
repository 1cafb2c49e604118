//! The pipeline, asked without sockets.

use bytes::{Bytes, BytesMut};
use freshgate::cli::demo::front::Front;
use freshgate::field::Fields;
use freshgate::pipeline::{Answer, Class, Content, Handled, Pipeline};
use freshgate::semantics::request::{Request, Scheme, Version};
use futures_util::StreamExt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A front without an edge: what is asked of it must not stream past the store.
pub struct InProcess(pub Arc<Pipeline>);

#[async_trait::async_trait]
impl Front for InProcess {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String> {
        let (head, body) = request.into_parts();
        let mut fields: Fields =
            head.headers.iter().map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec())).collect();
        if !fields.contains("host") {
            fields.push("Host", "shop.test");
        }
        let host = fields.get("host").map(|host| String::from_utf8_lossy(host).into_owned()).unwrap_or_default();
        let request = Request {
            method: head.method.to_string(),
            scheme: Scheme::Http,
            authority: host,
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            fields,
            version: Version::Http11,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            has_body: !body.is_empty(),
        };
        let answer = match self.0.classify(&request) {
            Class::Retrieve => match self.0.retrieve(request, None).await {
                Handled::Answer(answer) => answer,
                Handled::Pass(_) => return Err("nothing here streams past the store".into()),
            },
            Class::Mutate => self.0.mutate(request, body, None).await,
            Class::Pass(why) => return Err(format!("nothing here is only passed on: {why:?}")),
        };
        in_http(answer).await
    }
}

async fn in_http(answer: Answer) -> Result<http::Response<Bytes>, String> {
    let mut response = http::Response::builder().status(answer.head.status);
    for (name, value) in answer.head.fields.iter() {
        response = response.header(name, value);
    }
    let body = match answer.content {
        Content::Empty => Bytes::new(),
        Content::Whole(body) => body,
        Content::Stream { mut body, .. } => {
            let mut whole = BytesMut::new();
            while let Some(chunk) = body.next().await {
                whole.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
            }
            whole.freeze()
        }
    };
    response.body(body).map_err(|error| error.to_string())
}
