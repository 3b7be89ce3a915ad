//! Outputs: operators that run once per batch, for their effect.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{DStream, DynNode, Graph, GraphRef, Kind, Node, Operator};
use crate::data::{Data, Wire};
use crate::engine::{OpId, Payload, Role, Site, StageKey, TaskBody, TaskCx, TaskError, plan};
use crate::rdd::{ActionBody, Pipe};
use crate::sync::{LockExt, Mutex};
use crate::{Result, Time};

/// A registered output operation. Dropping the handle changes nothing.
pub struct Output {
    graph: Arc<Graph>,
    id: OpId,
}

impl Output {
    pub(crate) fn new(graph: &Arc<Graph>, id: OpId) -> Output {
        Output { graph: graph.clone(), id }
    }

    /// Names the output: its identity for exactly-once sinks across restarts, and what listeners and logs
    /// call it.
    pub fn name(self, name: &str) -> Output {
        self.graph.name(self.id, name);
        self
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({:?})", self.id)
    }
}

/// An output whose task body stands in the graph: `act` runs per partition, in tasks; `drive` on the
/// driver asks for partitions.
pub(crate) struct TaskOutputOp<N: Node, R, A, D> {
    id: OpId,
    node: Arc<N>,
    act: Arc<A>,
    drive: Mutex<D>,
    r: PhantomData<fn() -> R>,
}

/// What `drive` asks for partitions.
pub(crate) struct Runner<'a, R> {
    graph: &'a Graph,
    make: &'a dyn Fn(u32) -> Arc<dyn TaskBody>,
    actions: std::cell::Cell<u32>,
    width: u32,
    r: PhantomData<fn() -> R>,
}

impl<R: Wire> Runner<'_, R> {
    pub(crate) fn partitions(&self) -> u32 {
        self.width
    }

    /// One job over some partitions; results in partition order.
    pub(crate) fn run(&self, parts: std::ops::Range<u32>) -> Result<Vec<R>> {
        let n = self.actions.get();
        self.actions.set(n + 1);
        let results = plan::run_job(&self.graph.ctx.0, &(self.make)(n), parts)?;
        Ok(results.into_iter().map(Payload::take::<R>).collect::<Result<_, TaskError>>()?)
    }
}

impl<N, R, A, D> TaskOutputOp<N, R, A, D>
where
    N: Node,
    R: Wire,
    A: Fn(&N::Pipe, &TaskCx<'_>) -> Result<R, TaskError> + Send + Sync + 'static,
{
    fn body(&self, pipe: &Arc<N::Pipe>, action: u32, t: Time) -> Arc<dyn TaskBody> {
        let key = StageKey { op: self.id, sub: action, role: Role::Action, batch: t };
        Arc::new(ActionBody::new(key, pipe.clone(), self.act.clone()))
    }
}

/// Actions that an output of this kind may run per batch, as far as executors prepare for them.
const PREPARED: u32 = 4;

impl<N, R, A, D> Operator for TaskOutputOp<N, R, A, D>
where
    N: Node,
    R: Wire,
    A: Fn(&N::Pipe, &TaskCx<'_>) -> Result<R, TaskError> + Send + Sync + 'static,
    D: FnMut(&Runner<'_, R>, Time) -> Result<()> + Send,
{
    fn lineage(&self, graph: &Graph, t: Time) -> Result<()> {
        if let Some(pipe) = self.node.at(&GraphRef(graph), t)? {
            for n in 0..PREPARED {
                graph.ctx.0.add_body(&self.body(&pipe, n, t));
            }
        }
        Ok(())
    }

    fn run(&self, graph: &Graph, t: Time) -> Result<()> {
        let Some(pipe) = self.node.at(&GraphRef(graph), t)? else { return Ok(()) };
        let make = |n| self.body(&pipe, n, t);
        let runner = Runner {
            graph,
            make: &make,
            actions: std::cell::Cell::new(0),
            width: pipe.partitions() as u32,
            r: PhantomData,
        };
        (self.drive.get())(&runner, t)
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Registers an output with a task side and a driver side.
    #[track_caller]
    pub(crate) fn task_output<R: Wire>(
        &self,
        site: Site,
        act: impl Fn(&N::Pipe, &TaskCx<'_>) -> Result<R, TaskError> + Send + Sync + 'static,
        drive: impl FnMut(&Runner<'_, R>, Time) -> Result<()> + Send + 'static,
    ) -> Output {
        let path = format!("{}/{}", self.path, site.op);
        let node = self.node.clone();
        let mut op = OpId::default();
        self.graph.add(&path, Kind::Output, site, |id| {
            op = id;
            Arc::new(TaskOutputOp {
                id,
                node,
                act: Arc::new(act),
                drive: Mutex::new(drive),
                r: PhantomData,
            })
        });
        Output::new(&self.graph, op)
    }
}

/// What an output holds when it hands RDDs to a closure on the driver.
pub(crate) type AnyNode<T> = Arc<dyn DynNode<T>>;
