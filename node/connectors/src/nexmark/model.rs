//! Defines event `n`: the public Nexmark definition with its usual parameters.
//!
//! Of every 50 events the first is a person, the next three are auctions, the rest are bids. Sellers, bidders and
//! auctions are drawn from the existing ones; half (auctions) or three quarters (people) of the draws give a *hot* one.

use std::{sync::LazyLock, time::Duration};

use super::strings::{CHANNELS, HOT_CHANNELS, POOL};
use crate::random::{Random, below};

pub(super) const EVENTS_PER_CYCLE: u64 = 50;
const PERSONS_PER_CYCLE: u64 = 1;
const AUCTIONS_PER_CYCLE: u64 = 3;

const FIRST_PERSON: u64 = 1000;
const FIRST_AUCTION: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
const ACTIVE_PEOPLE: u64 = 1000;
const IN_FLIGHT_AUCTIONS: u64 = 100;
/// How many ids beyond the existing ones may be drawn.
const ID_LEAD: u64 = 10;
/// One draw in this many is not hot.
const HOT_AUCTION_RATIO: u64 = 2;
const HOT_SELLER_RATIO: u64 = 4;
const HOT_BIDDER_RATIO: u64 = 4;
const HOT_CHANNEL_RATIO: u64 = 2;
/// The hot one stays the same for this many ids.
const HOT_STRIDE: u64 = 100;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Prices between 1.00 and 1,000,000.00 in cents, log-uniform: drawn by interpolation between these.
static PRICES: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let price = |step: u32| 10f64.powf(f64::from(step) * 6.0 / f64::from(PRICE_STEPS)) * 100.0;
    (0..=PRICE_STEPS).map(|step| price(step).round() as u64).collect()
});
const PRICE_STEPS: u32 = 4096;
const PRICE_STEP_BITS: u32 = 12;

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Person,
    Auction,
    Bid,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Person, Self::Auction, Self::Bid];

    /// The kind of an event.
    #[inline]
    pub(super) fn of(event: u64) -> Self {
        match event % EVENTS_PER_CYCLE {
            0 => Self::Person,
            1..4 => Self::Auction,
            _ => Self::Bid,
        }
    }

    /// The value of `event_type`.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Person => 0,
            Self::Auction => 1,
            Self::Bid => 2,
        }
    }
}

/// What is drawn: the first argument of `Random::draw`.
#[derive(Debug, Clone, Copy)]
enum Draw {
    Delay,
    Name,
    Email,
    CreditCard,
    City,
    State,
    Extra,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Length,
    Seller,
    Category,
    Auction,
    Bidder,
    Price,
    Channel,
}

/// The properties of events.
#[derive(Debug, Clone)]
pub(super) struct Model {
    random: Random,
    start_millis: i64,
    nanos_per_event: u64,
    out_of_orderness_millis: u64,
    auction_horizon_millis: u64,
}

impl Model {
    pub(super) fn new(seed: u64, start_millis: i64, per_event: Duration, out_of_orderness: Duration) -> Self {
        let nanos_per_event = u64::try_from(per_event.as_nanos()).unwrap_or(u64::MAX).max(1);
        let in_flight_events = IN_FLIGHT_AUCTIONS * EVENTS_PER_CYCLE / AUCTIONS_PER_CYCLE;
        Self {
            random: Random::new(seed),
            start_millis,
            nanos_per_event,
            out_of_orderness_millis: u64::try_from(out_of_orderness.as_millis()).unwrap_or(u64::MAX),
            auction_horizon_millis: in_flight_events.saturating_mul(nanos_per_event) / NANOS_PER_MILLI,
        }
    }

    #[inline]
    fn draw(&self, what: Draw, event: u64) -> u64 {
        self.random.draw(what as u64, event)
    }

    /// The event's time in milliseconds.
    #[inline]
    pub(super) fn time(&self, event: u64) -> i64 {
        let elapsed = event.saturating_mul(self.nanos_per_event) / NANOS_PER_MILLI;
        let time = self.start_millis.saturating_add_unsigned(elapsed);
        if self.out_of_orderness_millis == 0 {
            return time;
        }
        let delay = below(self.draw(Draw::Delay, event), self.out_of_orderness_millis.saturating_add(1));
        time.saturating_sub_unsigned(delay)
    }

    /// The index of the last person that exists at an event, from 0.
    #[inline]
    fn last_person(event: u64) -> u64 {
        event / EVENTS_PER_CYCLE * PERSONS_PER_CYCLE
    }

    /// The index of the last auction that exists at an event, from 0; 0 before there is one.
    #[inline]
    fn last_auction(event: u64) -> u64 {
        let cycle = event / EVENTS_PER_CYCLE;
        match event % EVENTS_PER_CYCLE {
            0 => (cycle * AUCTIONS_PER_CYCLE).saturating_sub(1),
            offset => cycle * AUCTIONS_PER_CYCLE + (offset - 1).min(AUCTIONS_PER_CYCLE - 1),
        }
    }

    fn any_person(random: u64, event: u64) -> u64 {
        let people = Self::last_person(event) + 1;
        let active = people.min(ACTIVE_PEOPLE);
        people - active + below(random, active + ID_LEAD)
    }

    pub(super) fn person_id(&self, event: u64) -> i64 {
        id(FIRST_PERSON + Self::last_person(event))
    }

    pub(super) fn auction_id(&self, event: u64) -> i64 {
        id(FIRST_AUCTION + Self::last_auction(event))
    }

    pub(super) fn initial_bid(&self, event: u64) -> i64 {
        price(self.draw(Draw::InitialBid, event))
    }

    pub(super) fn reserve(&self, event: u64) -> i64 {
        self.initial_bid(event) + price(self.draw(Draw::Reserve, event))
    }

    pub(super) fn expires(&self, event: u64) -> i64 {
        let length = 1 + below(self.draw(Draw::Length, event), (self.auction_horizon_millis * 2).max(1));
        self.time(event).saturating_add_unsigned(length)
    }

    pub(super) fn seller(&self, event: u64) -> i64 {
        let random = self.draw(Draw::Seller, event);
        let person = if is_hot(random, HOT_SELLER_RATIO) {
            Self::last_person(event) / HOT_STRIDE * HOT_STRIDE
        } else {
            Self::any_person(random, event)
        };
        id(FIRST_PERSON + person)
    }

    pub(super) fn category(&self, event: u64) -> i64 {
        id(FIRST_CATEGORY + below(self.draw(Draw::Category, event), CATEGORIES))
    }

    pub(super) fn bid_auction(&self, event: u64) -> i64 {
        let random = self.draw(Draw::Auction, event);
        let last = Self::last_auction(event);
        let auction = if is_hot(random, HOT_AUCTION_RATIO) {
            last / HOT_STRIDE * HOT_STRIDE
        } else {
            let first = last.saturating_sub(IN_FLIGHT_AUCTIONS);
            first + below(random, last - first + 1 + ID_LEAD)
        };
        id(FIRST_AUCTION + auction)
    }

    pub(super) fn bidder(&self, event: u64) -> i64 {
        let random = self.draw(Draw::Bidder, event);
        let person = if is_hot(random, HOT_BIDDER_RATIO) {
            Self::last_person(event) / HOT_STRIDE * HOT_STRIDE + 1
        } else {
            Self::any_person(random, event)
        };
        id(FIRST_PERSON + person)
    }

    pub(super) fn price(&self, event: u64) -> i64 {
        price(self.draw(Draw::Price, event))
    }

    /// The channel's index in the pools of names and URLs.
    pub(super) fn channel(&self, event: u64) -> u32 {
        let random = self.draw(Draw::Channel, event);
        if is_hot(random, HOT_CHANNEL_RATIO) {
            index(below(random, HOT_CHANNELS))
        } else {
            index(HOT_CHANNELS + below(random, CHANNELS))
        }
    }

    pub(super) fn name(&self, event: u64) -> u32 {
        index(below(self.draw(Draw::Name, event), 99))
    }

    pub(super) fn email(&self, event: u64) -> u32 {
        self.pooled(Draw::Email, event)
    }

    pub(super) fn credit_card(&self, event: u64) -> u32 {
        self.pooled(Draw::CreditCard, event)
    }

    pub(super) fn city(&self, event: u64) -> u32 {
        index(below(self.draw(Draw::City, event), 10))
    }

    pub(super) fn state(&self, event: u64) -> u32 {
        index(below(self.draw(Draw::State, event), 6))
    }

    pub(super) fn item_name(&self, event: u64) -> u32 {
        self.pooled(Draw::ItemName, event)
    }

    pub(super) fn description(&self, event: u64) -> u32 {
        self.pooled(Draw::Description, event)
    }

    pub(super) fn extra(&self, event: u64) -> u32 {
        self.pooled(Draw::Extra, event)
    }

    fn pooled(&self, what: Draw, event: u64) -> u32 {
        index(below(self.draw(what, event), POOL))
    }
}

/// Whether a draw is hot: all but one in `ratio`. Uses bits that other draws from the same number do not.
#[inline]
fn is_hot(random: u64, ratio: u64) -> bool {
    !random.is_multiple_of(ratio)
}

#[inline]
fn price(random: u64) -> i64 {
    let step = (random >> (u64::BITS - PRICE_STEP_BITS)) as usize;
    let (low, high) = (PRICES[step], PRICES[step + 1]);
    let within = (random >> 16) & 0xffff;
    id(low + (((high - low) * within) >> 16))
}

fn id(value: u64) -> i64 {
    value.cast_signed()
}

fn index(value: u64) -> u32 {
    u32::try_from(value).expect("pools are small")
}
