//! The pipeline in plain mode, as the edge drives it.

use crate::peer::Seen;
use crate::rules::Rules;
use crate::said::Condition;
use crate::sequence::{Asked, BEGINNING, Reply as Answers, Step, cache_control};
use bytes::Bytes;
use freshgate::clock::{Clock, ManualClock, Timestamp};
use freshgate::config::{self, Overrides};
use freshgate::field::Fields;
use freshgate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, Reply};
use freshgate::pipeline::{Answer, Class, Content, Handled, Pipeline};
use freshgate::semantics::request::{Request, Scheme, Version};
use futures_util::{StreamExt, stream};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Plain mode: no route. What the origin accepted once it accepts for the whole sequence.
const CONFIG: &str = "origin.url = \"http://origin.test\"\nidentity.accepted_for = \"365d\"";

/// What it did at each step.
pub fn play(steps: &[Step]) -> Vec<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(async {
        let policy = match config::parse(CONFIG, "differential.toml", &Overrides::default(), &|_| None) {
            Ok(loaded) => loaded.policy,
            Err(errors) => panic!("{errors}"),
        };
        let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: BEGINNING * 1000, boot_ms: 5_000_000 }));
        let script = Arc::new(Script { clock: clock.clone(), now: Mutex::new(Now::default()) });
        let pipeline = Pipeline::new(Arc::new(policy), script.clone(), clock.clone(), Arc::new(|_| {}), [7; 32]);
        let mut seen = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            clock.advance(Duration::from_secs(step.after));
            clock.set_wall(clock.now().wall_ms + step.jump * 1000);
            *script.now() = Now { number, answers: Some(step.reply.clone()), asks: Vec::new() };
            let mut of_step = ask(&pipeline, &script, &step.asked).await;
            of_step.asks = std::mem::take(&mut script.now().asks);
            seen.push(of_step);
        }
        seen
    })
}

async fn ask(pipeline: &Arc<Pipeline>, script: &Script, asked: &Asked) -> Seen {
    let request = request(asked);
    let passage = match pipeline.classify(&request) {
        Class::Retrieve => match pipeline.retrieve(request.clone(), None).await {
            Handled::Answer(answer) => return seen(answer, asked.method),
            Handled::Pass(passage) => passage,
        },
        Class::Mutate => {
            let answer = pipeline.mutate(request, Bytes::new(), None).await;
            return Seen { status: answer.head.status, ..Seen::default() };
        }
        Class::Pass(why) => match pipeline.pass(&request, why).await {
            Ok(passage) => passage,
            Err(answer) => panic!("{answer:?}"),
        },
    };
    let status = script.answer(asked.method, &Fields::new()).head.status;
    pipeline.heed_passed(&request, passage.asked, status);
    Seen { status, ..Seen::default() }
}

fn request(asked: &Asked) -> Request {
    let mut fields: Fields = [("Host", "shop.test")].into_iter().collect();
    if !asked.cache_control.is_empty() {
        fields.push("Cache-Control", cache_control(&asked.cache_control, Rules::NONE).join(", "));
    }
    for (name, lines) in [("Accept-Language", asked.language), ("Accept", asked.accept)] {
        lines.sent.iter().for_each(|line| fields.push(name, *line));
    }
    if asked.authorized {
        fields.push("Authorization", "Bearer 1");
    }
    if asked.pragma {
        fields.push("Pragma", "no-cache");
    }
    let (path, query) = match asked.target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (asked.target, None),
    };
    Request {
        method: asked.method.into(),
        scheme: Scheme::Http,
        authority: "shop.test".into(),
        path: path.into(),
        query,
        fields,
        version: Version::Http11,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: false,
    }
}

fn seen(answer: Answer, method: &str) -> Seen {
    let Answer { head, content, .. } = answer;
    let text = |name: &str| head.fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let content = match content {
        Content::Whole(body) => std::str::from_utf8(&body).ok().and_then(|body| body.parse().ok()),
        Content::Empty => None,
        Content::Stream { .. } => panic!("nothing here streams"),
    };
    let stored = text("cache-status").is_some_and(|status| status.contains("; stored"));
    let content = content.filter(|_| method == "GET");
    Seen { asks: Vec::new(), status: head.status, content, age: text("age"), stored }
}

/// The origin: it says what the step says.
struct Script {
    clock: Arc<ManualClock>,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    number: usize,
    answers: Option<Answers>,
    asks: Vec<(String, Condition)>,
}

impl Script {
    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().expect("nobody panics under it")
    }

    fn answer(&self, method: &str, fields: &Fields) -> Reply {
        let text = |name: &str| fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let condition =
            Condition { if_none_match: text("if-none-match"), if_modified_since: text("if-modified-since") };
        let mut now = self.now();
        let answers = now.answers.clone().expect("nobody asks outside of a step");
        self.clock.advance(Duration::from_secs(answers.takes));
        let said = answers.to(&condition, self.clock.now().wall_seconds());
        now.asks.push((method.to_owned(), condition));
        let empty = matches!(said.status, 204 | 304);
        let body = if empty { Bytes::new() } else { Bytes::from(now.number.to_string()) };
        let framing = if empty { Framing::Empty } else { Framing::Length(body.len() as u64) };
        let fields = said.lines(Rules::NONE).into_iter().collect();
        Reply {
            head: Head { status: said.status, reason: Bytes::new(), fields },
            framing,
            body: stream::iter([Ok(body)]).boxed(),
        }
    }
}

#[async_trait::async_trait]
impl Origin for Script {
    async fn ask(&self, ask: Ask, _: Option<Interim>) -> Result<Reply, OriginError> {
        Ok(self.answer(&ask.method, &ask.fields))
    }
}
