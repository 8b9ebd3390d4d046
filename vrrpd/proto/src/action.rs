//! What goes into the core and what comes out of it.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::absence::Absence;
use crate::packet::{ChecksumForm, Datagram, DiscardReason, ParseError, Sighting};
use crate::parameters::{Facts, LinkId, Parameters, RouterId, VirtualAddress};
use crate::snapshot::{Alarm, Delivery, Evidence, Finding, Reason, StateName};
use crate::tracking::{TrackerId, TrackerState};
use crate::{Instant, Priority};

/// One thing that happened. [`Node::handle`](crate::Node::handle) takes them one at a time.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The loop woke up. Advertisements that are overdue by less than two intervals leave now,
    /// before the sockets are read.
    Woke,
    /// A packet, with the time at which the kernel received it.
    Received {
        /// Interface it came in on.
        link: LinkId,
        /// The packet.
        datagram: Datagram<'a>,
        /// When the kernel received it.
        arrived: Instant,
    },
    /// A packet behind an IP Authentication Header (RFC 2338 5.3.6), which is never accepted. It says
    /// of two routers that they cannot hear each other, and why.
    Sealed {
        /// Interface it came in on.
        link: LinkId,
        /// The packet; the payload is what is behind the header.
        datagram: Datagram<'a>,
    },
    /// A packet whose IP header is not one.
    Damaged {
        /// Interface it came in on.
        link: LinkId,
        /// What is wrong with it.
        error: ParseError,
    },
    /// Packets that the kernel dropped, and nobody read.
    Unread {
        /// Interface they came in on.
        link: LinkId,
        /// What its filter found wrong with them, or that there was no room.
        reason: DiscardReason,
        /// How many.
        packets: u64,
    },
    /// A frame that shows an address at a station; whose address it is, the node finds out.
    Sighted {
        /// Interface it came in on.
        link: LinkId,
        /// What it shows.
        sighting: Sighting,
        /// When the kernel received it.
        arrived: Instant,
    },
    /// The sockets have been read; now the timers are looked at.
    Drained,
    /// The host says something new of the place where a router runs.
    Facts {
        /// Whose place.
        router: RouterId,
        /// What is known now.
        facts: Facts,
    },
    /// One of the witnesses that the caller asks was reached. One that was not is not mentioned.
    Witnessed {
        /// Who wanted to know.
        router: RouterId,
        /// Which of [`Witness::tcp`](crate::parameters::Witness::tcp).
        nth: u16,
        /// Of the [`Report::AskWitnesses`] that it answers.
        asked: Instant,
    },
    /// A tracker says something new.
    Tracked {
        /// Which tracker.
        tracker: TrackerId,
        /// What it says.
        state: TrackerState,
    },
    /// What became of an [`Action`] that the kernel was asked for, or what the kernel did by itself.
    Outcome {
        /// Whose addresses.
        router: RouterId,
        /// Of the action.
        ticket: Ticket,
        /// What happened.
        outcome: Outcome,
    },
    /// An advertisement was handed to the kernel for each of its destinations. Comes once for each
    /// [`Action::Advertise`].
    Sent {
        /// Whose.
        router: RouterId,
        /// The priority in it.
        priority: Priority,
        /// For how many destinations it was taken.
        sent: u16,
        /// For how many it was not.
        failed: u16,
        /// Why, for the last of these; without meaning when there is none.
        errno: i32,
    },
    /// Announcements were handed to the kernel.
    Announced {
        /// Whose.
        router: RouterId,
        /// How many it took.
        sent: u16,
        /// How many it did not take.
        failed: u16,
    },
    /// What the other clocks say at the origin of the one that all other times are on. Comes before
    /// [`Woke`](Self::Woke): one that has gone ahead since the last time shows that the machine was away.
    /// People's clock is also what keyed advertisements carry.
    Clocks {
        /// Time since 1970 (`CLOCK_REALTIME`), which anybody may set.
        wall: Duration,
        /// Time since boot, time asleep included (`CLOCK_BOOTTIME`).
        boot: Duration,
    },
    /// A Virtual Router is added, or its parameters change in place. The caller removes and adds
    /// instead when link, VRID, family or ownership (priority 255) change.
    Configure {
        /// Which.
        router: RouterId,
        /// The whole of its parameters.
        parameters: Box<Parameters>,
    },
    /// A Virtual Router that has shut down is forgotten.
    Remove {
        /// Which.
        router: RouterId,
    },
    /// One Virtual Router leaves for good: hands over if it is Active.
    Shutdown {
        /// Which.
        router: RouterId,
    },
    /// The operator orders something. Answered with one [`Report::Ordered`], at once or when it is
    /// decided.
    Order {
        /// Whom.
        router: RouterId,
        /// Comes back in the answer.
        number: u32,
        /// What.
        order: Order,
    },
}

/// What an operator orders beyond the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Leave, and stay away until [`Undrain`](Self::Undrain). An Active Router asks first: unless
    /// another one takes over it goes on as before.
    Drain {
        /// Leave whether or not another router takes over.
        force: bool,
    },
    /// Take part again.
    Undrain,
    /// Hand over: let whoever answers be Active, and do not preempt it. Unless another router takes
    /// over, the Active Router goes on as before.
    HandOver,
    /// An earlier [`HandOver`](Self::HandOver) is still to be honoured, after a restart.
    Yield,
    /// Take back what was handed over: preempt the Active Router of lower priority now, whatever
    /// Preempt_Mode and its delay say.
    TakeBack,
    /// Trackers count as they are listed here, those that are not as undecided, until
    /// [`Unfreeze`](Self::Unfreeze). In a sync group they do so for all members.
    Freeze(Box<[(TrackerId, TrackerState)]>),
    /// Trackers count as they are, unless another member of the sync group is still frozen.
    Unfreeze,
    /// Announce the addresses now, as on becoming Active.
    Announce,
}

/// What became of an [`Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderOutcome {
    /// It is in force, and nobody had to take over for it.
    Done,
    /// Another router took over, and the addresses are gone from here.
    HandedOver(HandedOver),
    /// No other router took over; on as before.
    NobodyFollowed,
    /// The addresses went before another router took over: the order said so, or something else came
    /// in between.
    LeftAlone,
    /// It was not obeyed, and nothing changed.
    Refused(OrderRefusal),
}

/// A handover as the router that gave way saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// Source of the successor's first advertisement.
    pub to: IpAddr,
    /// Its priority.
    pub priority: Priority,
    /// From the resignation to that advertisement. The addresses answered here meanwhile.
    pub waited: Duration,
    /// From that advertisement until the kernel here had removed the addresses.
    pub overlap: Duration,
    /// The successor ranks lower, and is not preempted until this router has been Active again.
    pub yielded: bool,
}

/// Why an [`Order`] was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderRefusal {
    /// The addresses are the administrator's (priority 255).
    Owner,
    /// There is no role to hand over, or nothing to announce without it.
    NotActive,
    /// None of the addresses is on the interface.
    NoAddress,
    /// There is nothing to take back: this router has not handed over to one of lower rank.
    NotYielded,
    /// No living Active Router is heard.
    NoActiveRouter,
    /// The Active Router does not rank lower.
    Outranked,
    /// The role cannot be had now: checks have not decided yet, the kernel refused an address, this node was
    /// away and listens first, or the attempt was overtaken by another router.
    NotReady,
    /// Another order, or a handover, is under way.
    Busy,
}

/// Numbers the tenures of the addresses, so that a late outcome of an earlier one is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ticket(pub u32);

/// What became of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The address is on the interface.
    Added {
        /// Which of the router's addresses.
        index: u16,
        /// It was there before us; it is not removed by us.
        foreign: bool,
    },
    /// The kernel refused the address.
    Refused {
        /// Which of the router's addresses.
        index: u16,
        /// Why.
        errno: i32,
    },
    /// Every address of one [`Action::Acquire`] has been tried.
    Acquired,
    /// Every address of one [`Action::Release`] is gone, unless it was foreign.
    Released,
    /// Somebody else removed the address.
    Lost {
        /// Which of the router's addresses.
        index: u16,
    },
}

/// One thing to do, in the order given.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send an advertisement to every destination
    /// ([`Node::advertisement`](crate::Node::advertisement) has the octets).
    Advertise {
        /// Whose.
        router: RouterId,
        /// The priority in it.
        priority: Priority,
    },
    /// Announce those of the addresses that are present
    /// ([`Node::announcement`](crate::Node::announcement) has the frames).
    Announce {
        /// Whose.
        router: RouterId,
        /// Indices of the addresses.
        range: Range<u16>,
    },
    /// Ask the stations that say whether the clients' LAN answers, or whether this node is cut off
    /// ([`Node::question`](crate::Node::question) has the frames). What they say comes as
    /// [`Input::Sighted`].
    AskClientLan {
        /// Who wants to know.
        router: RouterId,
    },
    /// Ask who has the addresses, without claiming them
    /// ([`Node::probe`](crate::Node::probe) has the frames). What stations say comes as
    /// [`Input::Sighted`].
    Probe {
        /// Who wants to know.
        router: RouterId,
    },
    /// Ask whether the host of the Active Router is there, on each path, and third stations with it
    /// ([`Node::inquired`](crate::Node::inquired) and [`Node::inquiry`](crate::Node::inquiry) have the
    /// frames). What they say comes as [`Input::Sighted`].
    Inquire {
        /// Who wants to know.
        router: RouterId,
    },
    /// A living router is about to be preempted: whatever is [acquired](Self::Acquire) of these addresses next
    /// is to keep quiet until the next [`Renew`](Self::Renew), as far as the host can see to that.
    Fence(Ownership),
    /// Put addresses on the interface, and answer with outcomes. Present ones stay as they are.
    Acquire(Ownership),
    /// Take addresses off the interface unless they are foreign, and answer with an outcome.
    Release {
        /// What goes.
        ownership: Ownership,
        /// False: the role was given up, and no successor was heard in the time that one has. Clients have
        /// nobody else to turn to.
        followed: bool,
    },
    /// Give the addresses of ours their full lifetime again.
    Renew(Ownership),
    /// The role is being given up: note with the addresses of ours, in a way that outlives this
    /// process, that whoever finds them after a crash must not take them for its own role. The next
    /// [`Renew`](Self::Renew) takes the note back.
    Disclaim(Ownership),
    /// Tell the outside.
    Report(Report),
}

/// Addresses of one Virtual Router that the kernel is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Whose.
    pub router: RouterId,
    /// Comes back in the outcome.
    pub ticket: Ticket,
    /// All addresses of the router.
    pub addresses: Arc<[VirtualAddress]>,
    /// Those that are meant.
    pub range: Range<u16>,
}

/// What the log, the history, the hooks and the state files want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A change of state, or of the reason for it.
    Transition {
        /// Which router.
        router: RouterId,
        /// State before.
        from: StateName,
        /// State now.
        to: StateName,
        /// Why.
        reason: Reason,
        /// Priority in force.
        priority: Priority,
        /// The other router that this is about: who is Active, or was.
        rival: Option<(IpAddr, Priority)>,
        /// How long that router had been silent, when silence is the reason.
        silent: Option<Duration>,
        /// The member of its sync group that it moved with, when that is the reason.
        moved_with: Option<RouterId>,
    },
    /// The effective priority changed.
    PriorityChanged {
        /// Which router.
        router: RouterId,
        /// Before.
        from: Priority,
        /// Now.
        to: Priority,
    },
    /// Resigned for the time being, to let a better router take over.
    Asking {
        /// Which router.
        router: RouterId,
        /// The priority in force.
        priority: Priority,
        /// An order made it, not a lowered priority.
        ordered: bool,
    },
    /// The witnesses that the caller asks are to be asked. What comes of it returns as
    /// [`Input::Witnessed`].
    AskWitnesses {
        /// Who wants to know.
        router: RouterId,
        /// When; comes back in the answer.
        asked: Instant,
        /// An answer that takes longer says nothing.
        within: Duration,
    },
    /// An advertisement was late, and the host of the Active Router was asked. At most one report a minute for
    /// each of the findings that move nothing.
    Suspected {
        /// Which router.
        router: RouterId,
        /// The Active Router.
        of: IpAddr,
        /// What came of it.
        finding: Finding,
        /// The third station that answered, where that counted.
        third: Option<IpAddr>,
        /// How long the Active Router had been silent.
        silent: Duration,
    },
    /// What became of an [`Input::Order`].
    Ordered {
        /// Which router.
        router: RouterId,
        /// Of the order.
        number: u32,
        /// What became of it.
        outcome: OrderOutcome,
    },
    /// No better router took over; the role was kept.
    Kept {
        /// Which router.
        router: RouterId,
        /// A router of lower rank that showed itself, if any.
        rival: Option<(IpAddr, Priority)>,
    },
    /// Somebody else removed an address of an Active router; it is being put back.
    AddressLost {
        /// Which router.
        router: RouterId,
        /// Which of its addresses.
        index: u16,
    },
    /// The kernel refused an address.
    AddressRefused {
        /// Which router.
        router: RouterId,
        /// Which of its addresses.
        index: u16,
        /// Why.
        errno: i32,
    },
    /// Advertisements get further than before, or less far.
    Sending {
        /// Which router.
        router: RouterId,
        /// Where they get to now.
        delivery: Delivery,
    },
    /// A condition that somebody should look at came or went. At most one report a second for each
    /// condition; the last one is right.
    Alarm {
        /// Which router.
        router: RouterId,
        /// Which condition.
        alarm: Alarm,
        /// It came (or else went).
        raised: bool,
        /// What showed it last.
        evidence: Evidence,
    },
    /// A peer's checksum form became known; worth remembering across restarts. At most one report a
    /// minute; the last one is right.
    ChecksumForm {
        /// Which router.
        router: RouterId,
        /// The form.
        form: ChecksumForm,
    },
    /// The loop was away for longer than another router waits, so that another one may be Active by now:
    /// packets are read first, and nobody here speaks or claims before it has listened for one interval.
    /// At most one report a second, with the longest absence since the one before.
    Away(Absence),
    /// Packets were discarded. At most one report a second for each reason and each router or link, and
    /// fewer while it goes on; each packet is in one.
    Discarded {
        /// Interface they came in on.
        link: LinkId,
        /// The router they were for, when there is one.
        router: Option<RouterId>,
        /// Who sent the last of them, when that could be read.
        source: Option<IpAddr>,
        /// What is wrong with the last of them.
        error: ParseError,
        /// How many they are.
        packets: u64,
    },
    /// After [`Input::Shutdown`]: nothing of the router is left in the kernel.
    Gone {
        /// Which router.
        router: RouterId,
    },
}
