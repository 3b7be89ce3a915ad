//! Bodies of responses, and the small responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER,
};
use hyper::{Response, StatusCode};

use super::events::Subscription;
use crate::conf::defaults;

/// The body of a response.
pub(super) enum Answer {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// Events as they come.
    Events(Subscription),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Answer::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Answer::Events(events) => {
                events.poll_next(cx).map(|next| next.map(|b| Ok(Frame::data(b))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Answer::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Answer::Events(_) => SizeHint::default(),
        }
    }
}

pub(super) type Answered = Response<Answer>;

fn with(mut response: Answered, name: HeaderName, value: &'static str) -> Answered {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

fn whole(status: StatusCode, body: impl Into<Bytes>) -> Answered {
    let body = body.into();
    let mut response = Response::new(Answer::Whole((!body.is_empty()).then_some(body)));
    *response.status_mut() = status;
    response
}

/// JSON that pages of other servers may read.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answered {
    let response = with(whole(status, body), CONTENT_TYPE, "application/json");
    let response = with(response, CACHE_CONTROL, "no-store");
    with(response, ACCESS_CONTROL_ALLOW_ORIGIN, "*")
}

/// A page or another file.
pub(super) fn page(kind: &HeaderValue, body: Bytes) -> Answered {
    let mut response = with(whole(StatusCode::OK, body), CACHE_CONTROL, "no-cache");
    response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    with(response, HeaderName::from_static("x-content-type-options"), "nosniff")
}

/// Live events.
pub(super) fn events(events: Subscription) -> Answered {
    let response = Response::new(Answer::Events(events));
    let response = with(response, CONTENT_TYPE, "text/event-stream");
    let response = with(response, CACHE_CONTROL, "no-store");
    with(response, ACCESS_CONTROL_ALLOW_ORIGIN, "*")
}

/// Something that isn't done, and why.
pub(super) fn refused(status: StatusCode, error: &str) -> Answered {
    let text = serde_json::json!({ "error": error }).to_string();
    json(status, text)
}

/// Not now: come again.
pub(super) fn busy(error: &str) -> Answered {
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, error);
    let seconds = defaults::HTTP_RETRY_AFTER.as_secs().max(1);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Another method than the path has.
pub(super) fn not_allowed(allowed: &'static str) -> Answered {
    let text = format!("this path takes {allowed}");
    with(refused(StatusCode::METHOD_NOT_ALLOWED, &text), ALLOW, allowed)
}

/// What a path takes, for pages of other servers that ask first.
pub(super) fn options(allowed: &'static str) -> Answered {
    let response = with(whole(StatusCode::NO_CONTENT, Bytes::new()), ALLOW, allowed);
    with(response, ACCESS_CONTROL_ALLOW_ORIGIN, "*")
}
