//! When each member was last heard.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use thalweg_types::{MemberId, seam::Clock};

/// The times by the process's monotonic clock. Clones share them.
#[derive(Clone)]
pub(crate) struct Heard {
    clock: Arc<dyn Clock>,
    at: Arc<Mutex<BTreeMap<MemberId, Duration>>>,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Heard").field(&self.at).finish()
    }
}

impl Heard {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, at: Arc::default() }
    }

    pub(crate) fn on_heard(&self, member: MemberId) {
        self.at.lock().insert(member, self.clock.monotonic());
    }

    /// Forgets all members but these.
    pub(crate) fn keep(&self, members: impl Fn(&MemberId) -> bool) {
        self.at.lock().retain(|member, _| members(member));
    }

    /// How long ago each member was heard.
    pub(crate) fn ago(&self) -> BTreeMap<MemberId, Duration> {
        let now = self.clock.monotonic();
        self.at.lock().iter().map(|(member, at)| (*member, now.saturating_sub(*at))).collect()
    }
}
