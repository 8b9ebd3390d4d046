//! keepalived's sync group as a peer: the order of its source (`vrrp_sync_can_goto_master` and what
//! follows), with each member advertising the priority of its own.

/// One group of keepalived. Times are nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Keepalived {
    members: Vec<Member>,
    pub(crate) is_master: bool,
}

#[derive(Clone, Debug)]
struct Member {
    priority: u8,
    interval: u64,
    wants_master: bool,
    /// Advertisement timer of a master, ms_down_timer of a backup.
    timer: u64,
    /// The rank of the own address among those of the segment.
    address: usize,
}

/// Advertise this priority on this segment.
pub(crate) type Word = (usize, u8);

impl Keepalived {
    pub(crate) fn new(members: impl Iterator<Item = (u8, u64, usize)>, now: u64) -> Self {
        let member = |(priority, interval, address)| {
            let mut member = Member { priority, interval, wants_master: false, timer: 0, address };
            member.timer = now + member.down();
            member
        };
        Self { members: members.map(member).collect(), is_master: false }
    }

    pub(crate) fn poll_timeout(&self) -> u64 {
        self.members.iter().map(|member| member.timer).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn timeout(&mut self, now: u64) -> Vec<Word> {
        let mut said = Vec::new();
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if member.timer > now {
                continue;
            }
            if self.is_master {
                member.timer = now + member.interval;
                said.push((index, member.priority));
                continue;
            }
            member.wants_master = true;
            member.timer = now + member.down();
            if self.members.iter().all(|member| member.wants_master) {
                self.is_master = true;
                for (index, member) in self.members.iter_mut().enumerate() {
                    member.timer = now + member.interval;
                    said.push((index, member.priority));
                }
            }
        }
        said
    }

    pub(crate) fn hear(&mut self, segment: usize, priority: u8, address: usize, now: u64) -> Vec<Word> {
        let member = &mut self.members[segment];
        let outranked = priority > member.priority || priority == member.priority && address > member.address;
        match (self.is_master, priority) {
            (true, _) if priority == 0 || !outranked => return vec![(segment, member.priority)],
            (true, _) => self.yield_all(now),
            (false, 0) => member.timer = now + member.skew(),
            (false, _) if priority >= member.priority => {
                member.wants_master = false;
                member.timer = now + member.down();
            }
            (false, _) => {}
        }
        Vec::new()
    }

    /// A member lost its link: all are in FAULT, and say so.
    pub(crate) fn leave(&mut self) -> Vec<Word> {
        let was_master = std::mem::take(&mut self.is_master);
        (0..self.members.len()).filter(|_| was_master).map(|index| (index, 0)).collect()
    }

    fn yield_all(&mut self, now: u64) {
        self.is_master = false;
        for member in &mut self.members {
            member.wants_master = false;
            member.timer = now + member.down();
        }
    }
}

impl Member {
    fn skew(&self) -> u64 {
        (256 - u64::from(self.priority)) * self.interval / 256
    }

    fn down(&self) -> u64 {
        3 * self.interval + self.skew()
    }
}
