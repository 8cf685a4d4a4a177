//! What a task tells the file sinks that it feeds: how far it has come, so that they know which of their folders are complete.

use crate::{
    plan::{FragmentIdx, Plan, SinkIdx},
    task::{feeds::Feeds, input::InputState, output::Outputs, stages::Stage},
    time::WallTime,
    watermark::{InputMark, LowWatermark},
};

/// A file sink that gets rows of the task's fragment.
///
/// Not part of the state: after a restart it says once more how far the task had come, which changes nothing.
#[derive(Debug)]
pub(super) struct FedFiles {
    pub sink: SinkIdx,
    feeds: Feeds,
    low: LowWatermark,
    /// What was said last.
    sent: InputMark,
}

impl FedFiles {
    /// The file sinks that get rows of `fragment`.
    pub fn all(plan: &Plan, fragment: FragmentIdx, stages: &[Stage]) -> Vec<FedFiles> {
        let with_files = (0..plan.sinks.len()).filter(|sink| plan.sinks[*sink].files.is_some());
        let fed = with_files.map(|sink| FedFiles {
            sink,
            feeds: Feeds::of_sink(plan, fragment, sink, stages),
            low: LowWatermark::default(),
            sent: InputMark::UNKNOWN,
        });
        fed.filter(|files| !files.feeds.is_empty()).collect()
    }

    /// How far what feeds the sink has come, if that is news.
    fn news(&mut self, inputs: &[InputState], stages: &[Stage], now: Option<WallTime>) -> Option<InputMark> {
        self.low.update(self.feeds.marks(inputs, stages, now));
        let mark = self.low.mark();
        let is_news = mark != self.sent;
        self.sent = mark;
        is_news.then_some(mark)
    }
}

/// Tells the sinks in `all` what is news to them.
pub(super) fn tell(all: &mut [FedFiles], inputs: &[InputState], stages: &[Stage], now: Option<WallTime>, outputs: &mut Outputs) {
    for files in all {
        if let Some(mark) = files.news(inputs, stages, now) {
            outputs.files_mark(files.sink, mark, now);
        }
    }
}
