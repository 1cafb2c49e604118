//! An origin that answers from a script: for scenarios, races and simulations.

use super::{Ask, Framing, Head, Interim, Origin, OriginError, OriginErrorKind, Reply};
use crate::field::Fields;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, oneshot};

/// One answer of the script.
#[derive(Clone, Debug)]
pub struct Scripted {
    pub status: u16,
    pub fields: Fields,
    pub body: Bytes,
    pub framing: Framing,
    /// The body ends in an error after it: truncated, reset.
    pub breaks: bool,
    /// 1xx before the final head.
    pub interim: Vec<Head>,
}

impl Scripted {
    /// A complete answer.
    pub fn new(status: u16, fields: Fields, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let framing = Framing::Length(body.len() as u64);
        Scripted { status, fields, body, framing, breaks: false, interim: Vec::new() }
    }

    fn reply(self) -> Reply {
        let broken = self.breaks.then(|| {
            Err(OriginError { kind: OriginErrorKind::Protocol, cause: "the script breaks the body off".into() })
        });
        let chunks = (!self.body.is_empty()).then_some(Ok(self.body));
        Reply {
            head: Head { status: self.status, reason: Bytes::new(), fields: self.fields },
            framing: self.framing,
            body: stream::iter(chunks.into_iter().chain(broken)).boxed(),
        }
    }
}

/// A request that reached the origin and waits for its answer.
pub struct Asked {
    pub ask: Ask,
    answer: oneshot::Sender<Result<Reply, OriginError>>,
    interim: Option<Interim>,
}

impl Asked {
    /// Answers it.
    pub fn answer(self, scripted: Scripted) {
        for head in &scripted.interim {
            if let Some(interim) = &self.interim {
                // The caller may be gone, or not care: 1xx are advice.
                let _ = interim.try_send(head.clone());
            }
        }
        let _ = self.answer.send(Ok(scripted.reply()));
    }

    /// Answers it with a head and a body whose chunks come when they are sent.
    pub fn answer_slowly(
        self,
        head: Head,
        framing: Framing,
    ) -> tokio::sync::mpsc::UnboundedSender<Result<Bytes, OriginError>> {
        let (send, mut chunks) = tokio::sync::mpsc::unbounded_channel();
        let body = stream::poll_fn(move |cx| chunks.poll_recv(cx)).boxed();
        let _ = self.answer.send(Ok(Reply { head, framing, body }));
        send
    }

    /// Lets it fail.
    pub fn fail(self, kind: OriginErrorKind) {
        let _ = self.answer.send(Err(OriginError { kind, cause: "the script says so".into() }));
    }
}

/// An origin whose every answer is given by hand: [`ScriptedOrigin::next`] waits until a request has come.
#[derive(Default)]
pub struct ScriptedOrigin {
    waiting: Mutex<VecDeque<Asked>>,
    came: Notify,
}

impl ScriptedOrigin {
    /// An origin that nobody has asked yet.
    pub fn new() -> Arc<Self> {
        Arc::new(ScriptedOrigin::default())
    }

    /// The next request, in the order they came.
    pub async fn next(&self) -> Asked {
        loop {
            let came = self.came.notified();
            if let Some(asked) = self.try_next() {
                return asked;
            }
            came.await;
        }
    }

    /// A request that has come and is not answered, if there is one.
    pub fn try_next(&self) -> Option<Asked> {
        self.waiting.lock().expect("no holder of this lock panics").pop_front()
    }
}

#[async_trait::async_trait]
impl Origin for ScriptedOrigin {
    async fn ask(&self, ask: Ask, interim: Option<Interim>) -> Result<Reply, OriginError> {
        let (answer, reply) = oneshot::channel();
        self.waiting.lock().expect("no holder of this lock panics").push_back(Asked { ask, answer, interim });
        self.came.notify_one();
        let dropped =
            |_| OriginError { kind: OriginErrorKind::Protocol, cause: "the script dropped the request".into() };
        reply.await.map_err(dropped)?
    }
}
