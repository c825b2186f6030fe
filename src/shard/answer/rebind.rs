//! Operators give mail that waits another tenant, campaign, pool or priority. Its record says so from then on, on disk when it is answered.

use std::rc::Rc;
use std::sync::Arc;

use crate::queue::GroupPhase;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::answer::written::Written;
use crate::shard::message::{Job, Rebound, ShardMessage};
use crate::shard::store::rebind;
use crate::spool::rebind::{Changes, differs};
use crate::spool::record::MessageView;

/// What an operator wants of mail.
pub(super) struct Rebinding {
    set: Arc<Changes>,
    pub(super) written: Written,
}

impl Rebinding {
    /// That it has these.
    pub(super) fn new(set: Arc<Changes>) -> Rebinding {
        Rebinding { set, written: Written::default() }
    }

    /// Whether there is anything to be done with a group, so that a command which goes on does not begin anew.
    pub(super) fn takes(&self, job: &Job, view: Option<&MessageView<'_>>) -> bool {
        view.is_some_and(|view| differs(view, (job.group.first, job.group.count), &self.set))
    }

    /// One group, which left its queue, goes to the shard of its lane, and from there to the queue that it belongs in by then.
    pub(super) fn settle<R: Runtime>(&self, shard: &Rc<Shard<R>>, job: &Job) {
        let now = shard.seconds();
        let (domain, egress, client) = {
            let mut queues = shard.outbound.destinations.borrow_mut();
            let was = (
                queues.name(job.domain).as_bytes().into(),
                queues.egress(job.domain),
                queues.client(job.domain),
            );
            queues.attempted(job.domain, &job.group, &[], now);
            was
        };
        let mut group = job.group;
        match group.standing {
            // Whether it is suspended as what it is now, it hears where it comes.
            GroupPhase::Suspended => group.resume(),
            GroupPhase::Resident => group.standing = GroupPhase::Usual,
            _ => {}
        }
        let rebound = Box::new(Rebound {
            home: job.home,
            domain,
            egress,
            client,
            group,
            set: self.set.clone(),
            receipt: self.written.receipt(),
        });
        let writer = shard.mesh.writer(group.location.lane);
        if writer == shard.index {
            rebind::take(shard, rebound);
        } else {
            shard.mesh.send(writer, ShardMessage::Rebind(rebound));
        }
    }
}
