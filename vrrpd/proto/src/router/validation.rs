//! Which packets are advertisements for this router (RFC 9568 7.1), and what the accepted ones show.

use std::net::IpAddr;
use std::time::Duration;

use super::paths::Path;
use super::{Advertisement, Context, VirtualRouter};
use crate::action::Report;
use crate::discards::Told;
use crate::packet::{
    Advert, ChecksumForm, ChecksumPolicy, Datagram, DiscardReason, ParseError, Rules, TrailerFault,
};
use crate::parameters::{KERNEL_HOP_LIMIT, KeyMode, LinkId, Parameters};
use crate::snapshot::{Alarm, Evidence, Value};
use crate::{Family, Instant, Version};

/// An alarm, or an absence, is told of at most so often.
pub(crate) const REPORT_SPACING: Duration = Duration::from_secs(1);

/// The word for keyed advertisements, as in the configuration.
pub(super) const KEYED: &str = "hmac-sha256";

/// The checksum form last heard from one peer, or in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) form: ChecksumForm,
    pub(super) from: Option<(IpAddr, Instant)>,
}

impl VirtualRouter {
    /// Judges a packet that carries this router's VRID. A discarded one moves its counter and
    /// nothing else.
    pub(crate) fn receive(
        &mut self,
        link: LinkId,
        datagram: &Datagram<'_>,
        arrived: Instant,
        cx: &mut Context<'_>,
    ) -> Result<Advertisement, DiscardReason> {
        let path = self.path_of(link);
        match self.validate(path, datagram) {
            Ok((advert, source)) => {
                // Each path of a sender has a trailer and a sequence of its own.
                let sender = datagram.source;
                let unix = cx.unix().saturating_sub(cx.now - arrived);
                let fault = self.verify(&advert, sender, arrived, unix).err();
                if let Some(fault) = fault.filter(|_| self.enforces()) {
                    return Err(self.turned_away(link, sender, ParseError::Trailer(fault), cx));
                }
                self.keyed_accepted(&advert, fault, sender, unix, cx);
                let advertisement =
                    Advertisement { source, priority: advert.priority, interval: advert.interval, arrived };
                self.heard_on(path, advertisement, cx);
                self.heard_at_last(datagram.source, cx);
                self.accepted(&advert, &advertisement, cx);
                self.note_late(advertisement, cx);
                let too_low = datagram.hop_limit < self.parameters.min_hop_limit;
                let (theirs, ours) =
                    (Value::Number(datagram.hop_limit.into()), Value::Number(u8::MAX.into()));
                self.show(Alarm::HopLimitNot255, too_low, Evidence { source, theirs, ours }, cx);
                Ok(advertisement)
            }
            Err(error) => Err(self.turned_away(link, datagram.source, error, cx)),
        }
    }

    /// Discards a packet that carries this router's VRID behind an Authentication Header. What would be
    /// wrong with it otherwise comes first: only two that agree on the rest have that to settle.
    pub(crate) fn refuse(
        &mut self,
        link: LinkId,
        datagram: &Datagram<'_>,
        cx: &mut Context<'_>,
    ) -> DiscardReason {
        let error = match self.validate(self.path_of(link), datagram) {
            Err(error) if error.reason() != DiscardReason::Authentication => error,
            _ => ParseError::AuthenticationHeader,
        };
        self.turned_away(link, datagram.source, error, cx)
    }

    fn turned_away(
        &mut self,
        link: LinkId,
        source: IpAddr,
        error: ParseError,
        cx: &mut Context<'_>,
    ) -> DiscardReason {
        self.unheard(source, &error, cx);
        self.discarded(link, source, error, cx);
        error.reason()
    }

    fn enforces(&self) -> bool {
        self.keyring().is_some_and(|ring| ring.mode == KeyMode::Enforce)
    }

    /// What the trailer of an accepted advertisement shows, its absence, and the sender's clock.
    fn keyed_accepted(
        &mut self,
        advert: &Advert<'_>,
        fault: Option<TrailerFault>,
        source: IpAddr,
        unix: Duration,
        cx: &mut Context<'_>,
    ) {
        if let Some(fault) = fault.filter(|fault| *fault != TrailerFault::Missing) {
            *self.counter(ParseError::Trailer(fault).reason()) += 1;
        }
        // Networks double a packet now and then.
        let told = fault.filter(|fault| *fault != TrailerFault::Replay);
        let theirs = Value::Word(told.map_or("", TrailerFault::name));
        let evidence = Evidence { source, theirs, ours: Value::Word(KEYED) };
        self.show(Alarm::AuthenticationMismatch, told.is_some(), evidence, cx);
        let skew = self.clock_skew(advert, unix);
        let seconds = |time: Duration| Value::Number(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        let evidence = skew.map_or(Evidence::of(source), |(away, window)| Evidence {
            source,
            theirs: seconds(away),
            ours: seconds(window),
        });
        self.show(Alarm::ClockSkew, skew.is_some(), evidence, cx);
    }

    /// The advertisement, and by what name its sender is known.
    fn validate<'a>(&self, path: Path, datagram: &Datagram<'a>) -> Result<(Advert<'a>, IpAddr), ParseError> {
        let unicast = path == Path::Second || !self.parameters.peers.is_empty();
        let (source, destination) = (datagram.source, datagram.destination);
        let ours = if unicast { !destination.is_multicast() } else { destination == self.parameters.group() };
        if !ours {
            return Err(ParseError::WrongDestination { destination });
        }
        let own = if path == Path::First { self.facts.source } else { self.facts.second_source };
        if own == Some(source) {
            return Err(ParseError::OwnAddress { source_address: source });
        }
        if !may_be_primary(source, unicast && !self.parameters.strict) {
            return Err(ParseError::BadSource { source_address: source });
        }
        // keepalived leaves the kernel's default in IPv6 unicast. The exact value is let through, not
        // a range: what crossed a router carries less, or 254.
        let least = if unicast && path == Path::First { self.parameters.min_hop_limit } else { u8::MAX };
        let kernel_default = path == Path::First
            && unicast
            && !self.parameters.strict
            && least == u8::MAX
            && datagram.hop_limit == KERNEL_HOP_LIMIT;
        let rules = Rules {
            version: self.parameters.version(),
            authentication: self.parameters.authentication.policy(),
            trailer: self.keyring().is_some(),
            checksum: self.parameters.checksum_policy,
            strict: self.parameters.strict,
            min_hop_limit: if kernel_default && source.is_ipv6() { KERNEL_HOP_LIMIT } else { least },
        };
        let advert = Advert::parse(datagram, &rules)?;
        let known_as = self.identity(path, source);
        let known_as = known_as.ok_or(ParseError::UnknownPeer { source_address: source })?;
        if self.parameters.version() == Version::V2 {
            self.validate_v2(&advert)?;
        }
        Ok((advert, known_as))
    }

    /// What RFC 3768 7.1 asks for beyond RFC 9568. To compare the addresses is up to us, and a mistake in
    /// them is no reason for two Active Routers.
    fn validate_v2(&self, advert: &Advert<'_>) -> Result<(), ParseError> {
        let Parameters { interval, strict, .. } = self.parameters;
        if self.owner() {
            return Err(ParseError::Owner { priority: advert.priority });
        }
        if strict && self.lists_others(advert) && !advert.priority.is_owner() {
            return Err(ParseError::OtherAddresses);
        }
        if advert.interval != interval {
            return Err(ParseError::OtherInterval { found: advert.interval, expected: interval });
        }
        Ok(())
    }

    /// Without virtual addresses each node lists its own, and none of them is wrong.
    fn lists_others(&self, advert: &Advert<'_>) -> bool {
        !self.listed.is_empty() && !advert.addresses.same_set(&self.listed)
    }

    fn accepted(&mut self, advert: &Advert<'_>, advertisement: &Advertisement, cx: &mut Context<'_>) {
        self.statistics.advertisement_rcvd += 1;
        self.last_adv_source = Some(advertisement.source);
        self.statistics.priority_zero_pkts_rcvd += u64::from(advert.priority.is_release());
        self.learn_form(advert.form, advertisement, cx);
        let source = advertisement.source;
        let other_list = self.compare_lists(advert, source, cx);
        let other_interval = advert.interval != self.parameters.interval;
        // No packet counts as two errors; the list comes first (RFC 9568 7.1).
        self.statistics.address_list_errors += u64::from(other_list);
        self.statistics.interval_errors += u64::from(other_interval && !other_list);
        let (theirs, ours) = (Value::Interval(advert.interval), Value::Interval(self.parameters.interval));
        self.show(Alarm::IntervalMismatch, other_interval, Evidence { source, theirs, ours }, cx);
        if !advert.priority.is_release() {
            let equal = advert.priority == self.configured_priority();
            let value = Value::Number(advert.priority.get().into());
            let evidence = Evidence { source, theirs: value, ours: value };
            self.show(Alarm::DuplicateOwner, equal && self.owner(), evidence, cx);
            self.show(Alarm::EqualPriority, equal && !self.owner(), evidence, cx);
        }
    }

    /// Does an accepted advertisement list other addresses than ours?
    fn compare_lists(&mut self, advert: &Advert<'_>, source: IpAddr, cx: &mut Context<'_>) -> bool {
        if self.listed.is_empty() {
            return false;
        }
        let other = self.lists_others(advert);
        let (evidence, disjoint) = if other {
            let value = |address: Option<IpAddr>| address.map_or(Value::Nothing, Value::Address);
            let theirs = advert.addresses.iter().find(|theirs| !self.listed.contains(theirs));
            let ours = self.listed.iter().copied().find(|&ours| !advert.addresses.contains(ours));
            let disjoint = !advert.addresses.iter().any(|theirs| self.listed.contains(&theirs));
            (Evidence { source, theirs: value(theirs), ours: value(ours) }, disjoint)
        } else {
            (Evidence::of(source), false)
        };
        // A configured peer is no stranger, whatever it lists.
        let stranger = disjoint && !self.parameters.peers.contains(&source);
        self.show(Alarm::SharedVrid, stranger, evidence, cx);
        self.show(Alarm::AddressListMismatch, other && !stranger, evidence, cx);
        let no_link_local = self.parameters.family == Family::Ipv6 && !advert.link_local_first;
        self.show(Alarm::LinkLocalMissing, no_link_local, Evidence::of(source), cx);
        other
    }

    /// Which form is spoken with a peer, by any of its addresses, or in the group.
    pub(super) fn form_of(&self, peer: IpAddr) -> usize {
        let router = self.identity(Path::Second, peer).unwrap_or(peer);
        self.parameters.peers.iter().position(|&each| each == router).unwrap_or(0)
    }

    /// The form that the peer speaks is the form that it understands.
    fn learn_form(&mut self, form: ChecksumForm, advertisement: &Advertisement, cx: &mut Context<'_>) {
        let auto = self.parameters.checksum_policy == ChecksumPolicy::Either;
        let has_forms = self.parameters.family == Family::Ipv4 && self.parameters.version() == Version::V3;
        if !auto || !has_forms {
            return;
        }
        let source = advertisement.source;
        let peer = self.form_of(source);
        let before = std::mem::replace(
            &mut self.forms[peer],
            Heard { form, from: Some((source, advertisement.arrived)) },
        );
        let still_there = 3 * advertisement.interval.duration();
        let conflict = before.form != form
            && before.from.is_some_and(|(other, heard_at)| {
                other != source && advertisement.arrived - heard_at < still_there
            });
        self.statistics.checksum_form_conflicts += u64::from(conflict);
        if conflict || before.form == form {
            let (theirs, ours) = (Value::Form(form), Value::Form(before.form));
            self.show(Alarm::ChecksumFormConflict, conflict, Evidence { source, theirs, ours }, cx);
        }
        if before.form != form {
            self.form_changed(form, cx);
        }
    }

    fn discarded(&mut self, link: LinkId, source: IpAddr, error: ParseError, cx: &mut Context<'_>) {
        *self.counter(error.reason()) += 1;
        self.discards.add(Some(source), error, cx.now);
        self.tell_discards(link, cx);
    }

    /// Tells of discarded packets, as far as it is not too soon.
    pub(super) fn tell_discards(&mut self, link: LinkId, cx: &mut Context<'_>) {
        let router = Some(self.id);
        while let Some(Told { source, error, packets }) = self.discards.tell(cx.now) {
            cx.report(Report::Discarded { link, router, source, error, packets });
        }
    }

    fn counter(&mut self, reason: DiscardReason) -> &mut u64 {
        let statistics = &mut self.statistics;
        match reason {
            DiscardReason::Destination => &mut statistics.destination_errors,
            DiscardReason::Source => &mut statistics.source_errors,
            DiscardReason::Peer => &mut statistics.peer_errors,
            DiscardReason::HopLimit => &mut statistics.ip_ttl_errors,
            DiscardReason::Version => &mut statistics.version_errors,
            DiscardReason::Type => &mut statistics.invalid_type_pkts_rcvd,
            DiscardReason::Checksum => &mut statistics.checksum_errors,
            DiscardReason::AddressList => &mut statistics.address_list_errors,
            DiscardReason::Interval => &mut statistics.interval_errors,
            DiscardReason::Authentication => &mut statistics.auth_errors,
            DiscardReason::Owner => &mut statistics.owner_conflicts,
            DiscardReason::Digest => &mut statistics.digest_errors,
            DiscardReason::Window => &mut statistics.window_errors,
            DiscardReason::Replay => &mut statistics.replay_errors,
            // The first two and the last are known of a whole interface only.
            DiscardReason::Header | DiscardReason::Vrid | DiscardReason::Length | DiscardReason::Overrun => {
                &mut statistics.packet_length_errors
            }
        }
    }
}

/// Can a VRRP router's advertisements come from there (RFC 9568 5.1.1.1, 5.1.2.1)?
fn may_be_primary(source: IpAddr, global_ipv6: bool) -> bool {
    match source {
        IpAddr::V4(v4) => {
            !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast() && !v4.is_loopback()
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || global_ipv6 && !v6.is_unspecified() && !v6.is_multicast() && !v6.is_loopback()
        }
    }
}
