//! What checkpoints store of event time: the watermarks beside the streams, and the open windows, whose timers
//! are made again from them.

use std::sync::Arc;

use super::source::{Kept, Source};
use crate::checkpoint::schema::{Opaque, decode};
use crate::checkpoint::{DeltaBuilder, Entries};
use crate::data::{HashSeed, Key, Wire};
use crate::engine::Site;
use crate::rdd::partitioner::Partitioning;
use crate::state::Tables;
use crate::state::durable::{Durable, DurableTables, Form, not_read, not_written, put, schema_of};
use crate::{Error, Result, Time};

/// The one key under which a watermark is stored.
const KEY: u8 = 0;

impl Durable for Source {
    fn form(&self) -> Result<Form, Opaque> {
        Ok(Form { schema: schema_of::<(u8, Kept)>(None)?, timed: false })
    }

    fn partitioner(&self) -> String {
        "none".into()
    }

    /// It is small, and known to the driver.
    fn whole_only(&self) -> bool {
        true
    }

    fn load(&self, _: Time, _: Time, _: &Form, entries: &mut Entries) -> Result<()> {
        while let Some((_, _, value)) = entries.next().map_err(Error::Checkpoint)? {
            self.restore(decode(value).map_err(|e| not_read(self.site, &e))?);
        }
        Ok(())
    }

    fn whole(&self) -> Result<Vec<u8>> {
        let mut out = DeltaBuilder::default();
        put(&mut out, 0, &KEY, Some((None, &self.kept())))
            .map_err(|e| Error::TaskFailed { attempts: 1, cause: not_written(self.site, e) })?;
        Ok(out.finish().into_bytes())
    }
}

/// The tables of open windows.
pub(super) struct DurableWindows<K, S, F> {
    tables: DurableTables<K, S, ()>,
    /// Told of each open key after a restart: partition, hash, key and value.
    open: F,
}

impl<K, S, F> DurableWindows<K, S, F>
where
    K: Key,
    S: Wire,
    F: Fn(usize, u32, &K, &S) + Send + Sync + 'static,
{
    pub(super) fn stored(
        tables: &Arc<Tables<K, S>>,
        partitioning: Partitioning<K>,
        seed: HashSeed,
        site: Site,
        open: F,
    ) -> Vec<(&'static str, Arc<dyn Durable>)> {
        let tables = DurableTables::new(tables, &partitioning, seed, site);
        vec![("", Arc::new(DurableWindows { tables, open }))]
    }
}

impl<K, S, F> Durable for DurableWindows<K, S, F>
where
    K: Key,
    S: Wire,
    F: Fn(usize, u32, &K, &S) + Send + Sync,
{
    fn form(&self) -> Result<Form, Opaque> {
        self.tables.form()
    }

    fn partitioner(&self) -> String {
        self.tables.partitioner()
    }

    fn load(&self, t: Time, zero: Time, form: &Form, entries: &mut Entries) -> Result<()> {
        self.tables.load(t, zero, form, entries)?;
        let tables = &self.tables.tables;
        (0..tables.partitions()).try_for_each(|part| {
            tables.each(part, |hash, key, value, _| {
                (self.open)(part, hash, key, value);
                Ok(())
            })
        })
    }

    fn whole(&self) -> Result<Vec<u8>> {
        self.tables.whole()
    }
}
