//! Which keys weren't touched for the longest time: a queue of touches.
//!
//! A key that is touched again gets a new entry at the back; the old one stays where it is and counts no more. So a
//! touch costs one sequential write, where a linked list would change three places far from each other.

use std::collections::VecDeque;

/// Touches of slots, oldest first. Positions are counted from the first touch ever.
#[derive(Default)]
pub(super) struct Ages {
    /// The batches with touches in `slots`: time, and the position where they end.
    batches: VecDeque<(u64, u64)>,
    slots: VecDeque<u32>,
    /// The position of the front of `slots`.
    first: u64,
    /// Touches before it are over. They are there for the case that a batch is undone.
    head: u64,
}

/// Where a queue stood before a batch.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    head: u64,
    end: u64,
}

impl Ages {
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { head: self.head, end: self.end() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * 4 + self.batches.capacity() * size_of::<(u64, u64)>()
    }

    /// A slot was touched; times don't go back.
    #[inline]
    pub(super) fn push(&mut self, slot: u32, time: u64) {
        self.slots.push_back(slot);
        let end = self.end();
        match self.batches.back_mut() {
            Some(last) if last.0 == time => last.1 = end,
            _ => self.batches.push_back((time, end)),
        }
    }

    /// The oldest batch with touches that aren't over: its time and their number.
    pub(super) fn front(&self) -> Option<(u64, u64)> {
        // Mostly the first one: what is over doesn't stay for long.
        let (time, end) = match self.batches.front()? {
            first if first.1 > self.head => first,
            _ => self.batches.get(self.batches.partition_point(|(_, end)| *end <= self.head))?,
        };
        Some((*time, end - self.head))
    }

    /// The slot `n` places behind the oldest touch that isn't over.
    #[inline]
    pub(super) fn slot(&self, n: usize) -> Option<u32> {
        self.slots.get((self.head - self.first) as usize + n).copied()
    }

    /// The oldest touch is over.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.head += 1;
    }

    /// Undoes all touches since the mark, and what was over since then isn't.
    pub(super) fn undo(&mut self, to: Mark) {
        self.head = to.head;
        self.slots.truncate((to.end - self.first) as usize);
        while self.batches.back().is_some_and(|(_, end)| *end > to.end) {
            self.batches.pop_back();
        }
        debug_assert!(self.batches.back().is_none_or(|(_, end)| *end == to.end));
    }

    /// Nothing before the mark will be asked for again; all that is over goes if there is none.
    pub(super) fn forget(&mut self, before: Option<Mark>) {
        let gone = before.map_or(self.head, |m| m.head) - self.first;
        self.slots.drain(..gone as usize);
        self.first += gone;
        while self.batches.front().is_some_and(|(_, end)| *end <= self.first) {
            self.batches.pop_front();
        }
    }

    /// Leaves out the touches for which `keep` of time and slot is false. The marks move along.
    pub(super) fn retain(&mut self, marks: &mut [Mark], keep: impl Fn(u64, u32) -> bool) {
        let mut new = Ages { first: self.first, ..Ages::default() };
        // How many are left of those before each position.
        let mut left = Vec::with_capacity(self.slots.len() + 1);
        let mut begin = self.first;
        for (time, end) in &self.batches {
            for at in begin..*end {
                left.push(new.slots.len() as u64);
                let slot = self.slots[(at - self.first) as usize];
                if keep(*time, slot) {
                    new.push(slot, *time);
                }
            }
            begin = *end;
        }
        left.push(new.slots.len() as u64);
        let moved = |at: u64| self.first + left[(at - self.first) as usize];
        new.head = moved(self.head);
        for m in marks {
            *m = Mark { head: moved(m.head), end: moved(m.end) };
        }
        *self = new;
    }

    /// All touches that aren't over, oldest first, with their times.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        let mut batches = self.batches.iter().peekable();
        (self.head..self.end()).map(move |at| {
            while batches.peek().is_some_and(|(_, end)| *end <= at) {
                batches.next();
            }
            let time = batches.peek().map_or(0, |b| b.0);
            (time, self.slots[(at - self.first) as usize])
        })
    }
}
