//! What a streaming context serves and takes by HTTP, and the servers that do it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::listen::{listen, resolve};
use super::push::PushQueue;
use super::routes::{Page, Routes};
use super::server::Server;
use super::topic::{ServeOptions, Topic};
use crate::conf::{Conf, defaults};
use crate::engine::Site;
use crate::receiver::IoRuntime;
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result};

/// The HTTP side of one streaming context.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    refused: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    /// Where streams are served, when the program says so.
    serve_at: Option<String>,
    topics: BTreeMap<String, Arc<Topic>>,
    pages: BTreeMap<String, Page>,
    pushes: Vec<PushRoute>,
    /// Who serves first, for errors.
    site: Option<Site>,
    servers: Vec<Server>,
    /// What addresses became, as the program wrote them; `None` is that of served streams.
    bound: BTreeMap<Option<String>, SocketAddr>,
}

struct PushRoute {
    address: String,
    path: String,
    site: Site,
    queue: Arc<PushQueue>,
}

/// One address with all that is there.
struct Planned {
    who: String,
    names: Vec<Option<String>>,
    routes: Routes,
}

impl Hub {
    pub(crate) fn serve_at(&self, address: &str) {
        self.state.get().serve_at = Some(address.trim().to_string());
    }

    /// Adds a served stream; its name is nobody else's.
    pub(crate) fn topic(&self, name: &str, site: Site, options: ServeOptions) -> Arc<Topic> {
        let topic = Topic::new(name, options);
        let mut state = self.state.get();
        state.site.get_or_insert(site);
        state.topics.insert(name.to_string(), topic.clone());
        topic
    }

    pub(crate) fn page(&self, path: &str, site: Site, page: Page) {
        let mut state = self.state.get();
        state.site.get_or_insert(site);
        state.pages.insert(path.to_string(), page);
    }

    pub(crate) fn push(&self, address: &str, path: &str, site: Site, queue: &Arc<PushQueue>) {
        let (address, path) = (address.trim().to_string(), path.to_string());
        let route = PushRoute { address, path, site, queue: queue.clone() };
        self.state.get().pushes.push(route);
    }

    /// The address that `asked` became (`None`: that of served streams).
    pub(crate) fn bound(&self, asked: Option<&str>) -> Option<SocketAddr> {
        self.state.get().bound.get(&asked.map(|a| a.trim().to_string())).copied()
    }

    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        let state = self.state.get();
        state.topics.values().for_each(|t| all.extend(t.counters()));
        if !state.bound.is_empty() {
            let refused = self.refused.load(Ordering::Relaxed);
            all.push(("http.refused_connections".into(), refused));
        }
        all
    }

    /// Listens at every address that is wanted.
    pub(crate) fn start(&self, io: &IoRuntime, conf: &Conf) -> Result<()> {
        let mut state = self.state.get();
        let planned = state.plan(conf, &self.refused)?;
        if planned.is_empty() {
            return Ok(());
        }
        let io = io.handle().map_err(|e| Error::io("starting the I/O runtime", e))?;
        let mut servers = Vec::new();
        let mut bound = BTreeMap::new();
        for (address, plan) in planned {
            let listener = listen(address, &plan.who)?;
            let server = Server::start(&io, listener, Arc::new(plan.routes))?;
            tracing::info!("HTTP for {}: http://{}", plan.who, server.local());
            bound.extend(plan.names.into_iter().map(|name| (name, server.local())));
            servers.push(server);
        }
        (state.servers, state.bound) = (servers, bound);
        Ok(())
    }

    /// Subscribers get the last events, then everything is closed. Takes [`defaults::HTTP_STOP_WAIT`] at
    /// most.
    pub(crate) fn stop(&self) {
        let (servers, topics, pushes) = {
            let mut state = self.state.get();
            (
                std::mem::take(&mut state.servers),
                state.topics.values().cloned().collect::<Vec<_>>(),
                state.pushes.iter().map(|p| p.queue.clone()).collect::<Vec<_>>(),
            )
        };
        topics.iter().for_each(|t| t.close());
        pushes.iter().for_each(|p| p.close());
        servers.iter().for_each(Server::close);
        servers.iter().for_each(|s| s.wait_closed(defaults::HTTP_STOP_WAIT));
    }
}

impl State {
    /// Addresses with what is to be there.
    fn plan(&self, conf: &Conf, refused: &Arc<AtomicU64>) -> Result<BTreeMap<SocketAddr, Planned>> {
        let mut planned: BTreeMap<SocketAddr, Planned> = BTreeMap::new();
        let new = |who: String| Planned {
            who,
            names: Vec::new(),
            routes: Routes { refused: refused.clone(), ..Routes::default() },
        };
        if self.serve_at.is_some() || !self.topics.is_empty() || !self.pages.is_empty() {
            let text = self.serve_at.as_deref().unwrap_or(&conf.http_address);
            let who = self.site.map_or("`serve_at`".into(), |site| site.to_string());
            let address = resolve(text, &who)?;
            let plan = planned.entry(address).or_insert_with(|| new(who));
            plan.names.extend([None, Some(text.to_string())]);
            plan.routes.topics = Some(self.topics.clone());
            plan.routes.pages = self.pages.clone();
        }
        for push in &self.pushes {
            let who = push.site.to_string();
            let address = resolve(&push.address, &who)?;
            let plan = planned.entry(address).or_insert_with(|| new(who));
            plan.names.push(Some(push.address.clone()));
            let other = plan.routes.pushes.insert(push.path.clone(), push.queue.clone());
            if other.is_some() {
                return Err(Error::usage(format!(
                    "{}: another stream takes what is pushed to {address}{}: choose another path",
                    push.site, push.path
                )));
            }
        }
        Ok(planned)
    }
}
