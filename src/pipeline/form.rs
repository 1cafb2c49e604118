//! Which form of a content an answer carries: the one it came in, or one in a content coding that was made here.

use crate::clock::Timestamp;
use crate::field::entity_tag::TagList;
use crate::pipeline::Pipeline;
use crate::policy::Coding;
use crate::semantics::content_coding::{self, Form};
use crate::semantics::precondition::{self, Evaluated};
use crate::semantics::request::Request;
use crate::semantics::stored_response::Response;
use crate::store::variants::Coded;
use bytes::Bytes;
use std::sync::Arc;

/// Half of the processors at most make codings: requests come first.
fn at_once() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

impl Pipeline {
    /// The only evaluation of a retrieval's preconditions, together with what it is about: the form of `response` that
    /// this client gets now. `held`: whether the store holds it, so that another form of it may be asked for again.
    ///
    /// A form that is not there yet is made in the background, and nobody waits for it.
    pub(crate) fn select_form(
        self: &Arc<Self>,
        request: &Request,
        response: &Response,
        body: &Bytes,
        held: bool,
        now: Timestamp,
    ) -> (Form, Bytes, Evaluated) {
        let evaluate = |form: &Form| {
            let selected = precondition::Selected {
                status: response.status,
                fields: &response.fields,
                entity_tag: form.entity_tag.as_ref(),
                modified: response.modified,
                content_length: form.content_length,
                range_allowed: true,
            };
            precondition::evaluate(&request.fields, &request.method, &selected, now)
        };
        let identity = Form::identity(response);
        let codings = match response.recodable {
            true => content_coding::acceptable(&request.fields, &self.policy.cache.codings),
            false => Vec::new(),
        };
        // Which of several forms is selected is the server's choice (RFC 9110 §12.1): the one that the client has.
        if !codings.is_empty() && matches!(TagList::of(&request.fields, "if-none-match"), Some(TagList::Tags(_))) {
            let forms = codings.iter().map(|coding| Form::coded(response, *coding, 0)).chain([identity.clone()]);
            if let Some(form) = forms.into_iter().find(|form| evaluate(form) == Evaluated::NotModified) {
                return (form, Bytes::new(), Evaluated::NotModified);
            }
        }
        for coding in codings {
            match self.store.coded(response.content, coding) {
                Coded::Made(made) => {
                    let form = Form::coded(response, coding, made.len() as u64);
                    let evaluated = evaluate(&form);
                    return (form, made, evaluated);
                }
                Coded::Futile => break,
                Coded::Absent if held => self.make_coded(response, body, coding),
                Coded::Absent => {}
            }
        }
        let evaluated = evaluate(&identity);
        (identity, body.clone(), evaluated)
    }

    fn make_coded(self: &Arc<Self>, response: &Response, body: &Bytes, coding: Coding) {
        let Some(making) = self.store.begin_coding(response.content, coding, at_once()) else { return };
        let (pipeline, body) = (self.clone(), body.clone());
        tokio::task::spawn_blocking(move || pipeline.store.make_coded(making, &body));
    }
}
