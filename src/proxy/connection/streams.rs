//! The exchanges of one HTTP/2 connection: how many are under way, how many were taken back, and which wait for a client that
//! takes nothing of its response.

use super::super::body::{Body, BodyError};
use super::super::io::Patience;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// How many requests of one HTTP/2 connection may be taken back at once while they are under way, and how many more in each
/// second. Each may have cost a connection to the upstream, and nothing that h2 counts.
const TAKEN_BACK_MAX: u32 = 200;
const TAKEN_BACK_PER_SECOND: u32 = 20;

/// How many exchanges a connection has under way, and since when there is none.
pub(super) struct Activity {
    under_way: Cell<usize>,
    since: Cell<Instant>,
    /// How many were taken back, less those that are forgiven, and since when that is counted.
    taken_back: Cell<(u32, Instant)>,
    /// Told once there are too many of them.
    pub(super) abuse: Notify,
}

impl Default for Activity {
    fn default() -> Self {
        let now = Instant::now();
        let (under_way, taken_back) = (Cell::new(0), Cell::new((0, now)));
        Self { under_way, since: Cell::new(now), taken_back, abuse: Notify::new() }
    }
}

impl Activity {
    /// An exchange begins.
    pub(super) fn begin(self: &Rc<Self>) -> UnderWay {
        self.under_way.set(self.under_way.get() + 1);
        UnderWay { activity: Rc::clone(self), is_answered: false }
    }

    fn take_back(&self) {
        let (count, since) = self.taken_back.get();
        let seconds = since.elapsed().as_secs();
        let forgiven = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(TAKEN_BACK_PER_SECOND);
        let since = since + Duration::from_secs(seconds);
        self.taken_back.set((count.saturating_sub(forgiven) + 1, since));
        if self.is_abused() {
            self.abuse.notify_one();
        }
    }

    pub(super) fn is_abused(&self) -> bool {
        self.taken_back.get().0 > TAKEN_BACK_MAX
    }

    /// Waits until there has been no exchange for so long.
    pub(super) async fn idle_for(&self, long: Duration) {
        loop {
            let idle_at = if self.under_way.get() == 0 { self.since.get() + long } else { Instant::now() + long };
            if idle_at <= Instant::now() {
                return;
            }
            sleep_until(idle_at).await;
        }
    }
}

/// One exchange, counted until the last of its response is handed over. Dropped before its answer it was taken back.
pub(super) struct UnderWay {
    activity: Rc<Activity>,
    is_answered: bool,
}

impl UnderWay {
    /// The body of its answer.
    pub(super) fn answered(mut self, body: Body) -> Taken {
        self.is_answered = true;
        Taken { body, rest: Bytes::new(), given: GIVEN.try_with(Rc::clone).unwrap_or_default(), _under_way: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.is_answered {
            self.activity.take_back();
        }
        self.activity.under_way.set(self.activity.under_way.get().saturating_sub(1));
        self.activity.since.set(Instant::now());
    }
}

tokio::task_local! {
    /// Since when the stream of this task has given what its client has not taken.
    static GIVEN: Rc<Cell<Option<Instant>>>;
}

/// Bytes that are given at once. What was given is held until the client takes it, however long that is.
const GIVEN_MAX: usize = 16 * 1024;

/// The body of a response, which knows whether its client takes it: hyper asks for more once there is room in the client's window
/// for what it was given.
pub(super) struct Taken {
    body: Body,
    /// What was had of it and is not given yet.
    rest: Bytes,
    given: Rc<Cell<Option<Instant>>>,
    _under_way: UnderWay,
}

impl http_body::Body for Taken {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.given.set(None);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(GIVEN_MAX);
        let given = self.rest.split_to(length);
        self.given.set(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(given))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Spawns the streams of a connection on its worker's own thread.
#[derive(Clone)]
pub(super) struct Local {
    patience: Patience,
    activity: Rc<Activity>,
}

impl Local {
    pub(super) fn new(patience: Patience, activity: &Rc<Activity>) -> Self {
        Self { patience, activity: Rc::clone(activity) }
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(while_taken(stream, self.clone()));
    }
}

/// How many streams may share the time in which one has to take something: a line that is slow is slower for each of many.
const SHARING: usize = 16;

/// Runs a stream for as long as its client takes what it is given. One that is dropped is reset, and its body breaks off; the
/// others of its connection go on.
async fn while_taken(stream: impl Future<Output = ()>, Local { patience, activity }: Local) {
    let given = Rc::<Cell<Option<Instant>>>::default();
    let mut stream = pin!(GIVEN.scope(Rc::clone(&given), stream));
    let mut tired = pin!(sleep(patience.long));
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = given.get() else { return Poll::Pending };
        let shares = u32::try_from(activity.under_way.get() / SHARING).unwrap_or_default().saturating_add(1);
        tired.as_mut().reset(since + patience.long.saturating_mul(shares));
        ready!(tired.as_mut().poll(cx));
        patience.lost("stream reset");
        Poll::Ready(())
    })
    .await;
}
