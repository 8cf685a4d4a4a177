//! How rows go through the stages of a task: the queue, the open call, and what a stage gives away.

use crate::{
    plan::{Consumer, Stream},
    stage::Batch,
    task::{
        Effect, Task, failing, memory, retime, stages,
        stages::{Rose, TABLE_PORT},
    },
    time::Watermark,
};

/// Rows that a stage has not taken yet: those of `batch` from `from` on.
#[derive(Debug)]
pub(super) struct Waiting {
    pub stage: usize,
    pub port: usize,
    pub batch: Batch,
    pub from: usize,
    /// What judges each row, once it is known.
    pub marks: Option<Vec<Watermark>>,
}

impl Task {
    /// Goes on until a plugin must be called or nothing is left to do.
    pub(super) fn run(&mut self, effects: &mut Vec<Effect>) {
        loop {
            if let Some(running) = self.running {
                let stage = &mut self.stages[running];
                match stage.state.operator().next_call() {
                    Some(request) => {
                        let plugin = self.plan.stages[stage.idx].kind.plugin().expect("only stages with a plugin ask for calls");
                        self.is_call_open = true;
                        effects.push(Effect::Call { stage: stage.idx, plugin, request });
                        return;
                    }
                    None => self.running = None,
                }
            } else if let Some(waiting) = self.queue.pop_front() {
                self.give(waiting, effects);
            } else if let Some(at) = self.raising {
                self.raising = self.raise(at, effects);
            } else {
                self.outputs.flush(effects);
                return;
            }
        }
    }

    /// Gives a stage rows that wait for it: as many as it can take; or first the watermark that it needs for the next one.
    fn give(&mut self, waiting: Waiting, effects: &mut Vec<Effect>) {
        let Waiting { stage: at, port, batch, from, marks } = waiting;
        let marks = marks.unwrap_or_else(|| {
            let stage = &self.stages[at];
            let (feeds, low) = match &stage.table {
                Some(table) if port == TABLE_PORT => (&table.feeds, &table.low),
                _ => (&stage.feeds, &stage.low),
            };
            feeds.judge(&batch, low, &self.inputs, &self.stages, self.now)
        });
        let stage = &mut self.stages[at];
        let operator = stage.state.operator();
        match operator.n_acceptable(&batch, &marks, from) {
            0 => {
                stage.low.restore(marks[from]);
                operator.advance(marks[from], &mut self.outbox);
                self.queue.push_front(Waiting { stage: at, port, batch, from, marks: Some(marks) });
            }
            n_rows if n_rows == batch.len() => operator.accept(port, batch, &marks, &mut self.outbox),
            n_rows => {
                let to = from + n_rows;
                let rows: Vec<u32> = (from as u32..to as u32).collect();
                operator.accept(port, batch.take(&rows), &marks[from..to], &mut self.outbox);
                if to < batch.len() {
                    self.queue.push_front(Waiting { stage: at, port, batch, from: to, marks: Some(marks) });
                }
            }
        }
        self.running = Some(at);
        self.empty_outbox(at, effects);
    }

    /// Raises the watermark of the stage at `at`, or at the end that of the task. Gives what to raise next.
    fn raise(&mut self, at: usize, effects: &mut Vec<Effect>) -> Option<usize> {
        if at == self.stages.len() {
            self.low.update(self.inputs.iter().map(|input| input.mark(self.now)));
            return None;
        }
        if let Some(rose) = stages::raise(&mut self.stages, at, &self.inputs, self.now) {
            let operator = self.stages[at].state.operator();
            match rose {
                Rose::Table(watermark) => operator.advance_table(watermark, &mut self.outbox),
                Rose::Stage(watermark) => operator.advance(watermark, &mut self.outbox),
            }
            self.running = Some(at);
            self.empty_outbox(at, effects);
            // The same stage again: its next watermark, and then its clock, when all that came of this one has flowed on.
            return Some(at);
        }
        if let Some(now) = self.now {
            self.stages[at].state.operator().clock(now, &mut self.outbox);
            self.running = Some(at);
            self.empty_outbox(at, effects);
        }
        Some(at + 1)
    }

    /// Sends on what the stage at `at` gave away.
    pub(super) fn empty_outbox(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let mut outbox = std::mem::take(&mut self.outbox);
        let stage = &mut self.stages[at];
        let stage_idx = stage.idx;
        let plan = self.plan.clone();
        if let Some(to) = &plan.stages[stage_idx].retime {
            retime::apply(to, &mut outbox);
        }
        let failure = failing::apply(&plan, stage_idx, &mut stage.block, &mut outbox);
        memory::add_counts(&mut stage.counts, &std::mem::take(&mut outbox.counts));
        for (output, batch) in outbox.emitted.drain(..) {
            self.deliver(&plan.stages[stage_idx].outputs[output], batch, effects);
        }
        outbox.crossing.drain(..).for_each(|crossing| self.cross(stage_idx, &crossing, effects));
        outbox.late.drain(..).for_each(|late| self.outputs.late(stage_idx, &late, effects));
        outbox.dead.drain(..).for_each(|dead| self.outputs.dead_rows(stage_idx, &dead, &self.stages[at].versions, effects));
        effects.extend(failure.map(|failure| Effect::Failed(Box::new(failure))));
        self.outbox = outbox;
    }

    /// Gives rows of `stream` to all who consume it. The last stage gets them, the others copies.
    pub(super) fn deliver(&mut self, stream: &Stream, batch: Batch, effects: &mut Vec<Effect>) {
        let mut readers = Vec::new();
        for consumer in &stream.consumers {
            match *consumer {
                Consumer::Sink(sink) => self.outputs.sink(sink, &batch, self.now, effects),
                Consumer::Shuffle(shuffle) => self.shuffle(shuffle, &batch, effects),
                Consumer::Stage { stage, port } => readers.push((self.places[stage].expect("of this fragment"), port)),
            }
        }
        let Some((last, others)) = readers.split_last() else { return };
        for (stage, port) in others {
            self.enqueue(*stage, *port, batch.clone());
        }
        self.enqueue(last.0, last.1, batch);
    }

    pub(super) fn enqueue(&mut self, stage: usize, port: usize, batch: Batch) {
        let (port, batch) = self.stages[stage].intake(&self.plan, port, batch);
        if !batch.is_empty() {
            self.queue.push_back(Waiting { stage, port, batch, from: 0, marks: None });
        }
    }
}
