//! What a server answers to which path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::answer::{self, Answered};
use super::events::Subscription;
use super::push::{self, PushQueue};
use super::topic::Topic;

/// Below which path streams are.
pub(super) const STREAMS: &str = "/streams";

/// A page, or another file, that is served as it is.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) kind: HeaderValue,
    pub(crate) body: Bytes,
}

/// The paths of one server.
#[derive(Default)]
pub(super) struct Routes {
    /// Only the server that serves streams has them.
    pub(super) topics: Option<BTreeMap<String, Arc<Topic>>>,
    pub(super) pages: BTreeMap<String, Page>,
    pub(super) pushes: BTreeMap<String, Arc<PushQueue>>,
    /// Connections that found no place.
    pub(super) refused: Arc<AtomicU64>,
}

/// What a path that can be read is.
enum Found<'a> {
    Page(&'a Page),
    List(&'a BTreeMap<String, Arc<Topic>>),
    Latest(&'a Topic),
    Events(&'a Arc<Topic>),
}

impl Routes {
    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answered {
        let path = request.uri().path();
        let push = self.pushes.get(path);
        let found = self.find(path);
        let allowed = match (&push, &found) {
            (None, None) => {
                let answer = self.not_found(path);
                push::discard(request.into_body()).await;
                return answer;
            }
            (Some(_), None) => "POST, OPTIONS",
            (None, Some(_)) => "GET, HEAD, OPTIONS",
            (Some(_), Some(_)) => "GET, HEAD, POST, OPTIONS",
        };
        match (request.method(), push, found) {
            (&Method::OPTIONS, ..) => answer::options(allowed),
            (&Method::POST, Some(push), _) => {
                let push = push.clone();
                push::answer(&push, request).await
            }
            (&Method::GET | &Method::HEAD, _, Some(found)) => show(&found, &request),
            _ => {
                push::discard(request.into_body()).await;
                answer::not_allowed(allowed)
            }
        }
    }

    fn find(&self, path: &str) -> Option<Found<'_>> {
        if let Some(page) = self.pages.get(path) {
            return Some(Found::Page(page));
        }
        let topics = self.topics.as_ref()?;
        let below = path.strip_prefix(STREAMS)?;
        if below.is_empty() || below == "/" {
            return Some(Found::List(topics));
        }
        let mut parts = below.strip_prefix('/')?.split('/');
        let topic = topics.get(parts.next()?)?;
        match (parts.next(), parts.next()) {
            (None, _) => Some(Found::Latest(topic)),
            (Some("events"), None) => Some(Found::Events(topic)),
            _ => None,
        }
    }

    fn not_found(&self, path: &str) -> Answered {
        let mut text = format!("nothing is at `{path}`");
        if self.topics.is_some() {
            text.push_str("; GET /streams lists the streams");
        }
        answer::refused(StatusCode::NOT_FOUND, &text)
    }
}

fn show(found: &Found<'_>, request: &Request<Incoming>) -> Answered {
    match found {
        Found::Page(page) => answer::page(&page.kind, page.body.clone()),
        Found::List(topics) => {
            let all: Vec<String> = topics.values().map(|t| t.summary()).collect();
            answer::json(StatusCode::OK, format!("{{\"streams\":[{}]}}", all.join(",")))
        }
        Found::Latest(topic) => answer::json(StatusCode::OK, topic.latest()),
        Found::Events(topic) => {
            let last = request.headers().get(HeaderName::from_static("last-event-id"));
            let last = last.and_then(|v| v.to_str().ok()?.trim().parse().ok());
            answer::events(Subscription::new(topic, last))
        }
    }
}
