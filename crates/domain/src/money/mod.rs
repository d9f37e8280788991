//! What requests cost, what they may cost, and which provider is the cheapest to ask. No clock, no I/O: times are given.
//!
//! Amounts are whole numbers of millionths: nothing is lost in sums, and 0.1 is 0.1.

pub mod hold;
pub mod order;
pub mod quality;
pub mod unknown;
pub mod windows;

use std::fmt;
use std::iter::Sum;

/// An amount of money, or of a vendor's credits, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub i64);

/// How it is told that a provider was not asked for a budget, for a price that it lacks, and for one that was too low: the queue finds
/// by that what waits.
pub const OVER_BUDGET: &str = "not asked: the budget";
pub const WITHOUT_PRICE: &str = "not asked: a budget in";
pub const OVER_MOST_CREDITS: &str = "and most_credits of its price says";

/// Decimal places of an amount.
const DECIMALS: usize = 6;
const MILLION: i64 = 1_000_000;

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAmount {
    NotANumber,
    Negative,
    TooManyDecimals,
    TooLarge,
}

impl NoAmount {
    /// What to say about it, after the place of the mistake.
    pub const fn words(self) -> &'static str {
        match self {
            NoAmount::NotANumber => "must be a number",
            NoAmount::Negative => "must not be negative",
            NoAmount::TooManyDecimals => "must not have more than 6 decimals",
            NoAmount::TooLarge => "must not be more than 1,000,000,000",
        }
    }
}

impl Amount {
    pub const ZERO: Amount = Amount(0);
    /// The largest that can be written down. Sums may be larger.
    pub const LARGEST: Amount = Amount(1_000_000_000 * MILLION);

    /// Reads a decimal number such as `0.28`, `20.00` or `1e-3`, exactly.
    pub fn parse(text: &str) -> Result<Amount, NoAmount> {
        let text = text.trim();
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().map_err(|_| NoAmount::NotANumber)?),
            None => (text, 0_i32),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return Err(NoAmount::NotANumber);
        }
        let significant = format!("{whole}{fraction}");
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Ok(Amount::ZERO);
        }
        let trimmed = significant.trim_end_matches('0');
        // trimmed × 10^shift millionths.
        let dropped = significant.len() - trimmed.len();
        let shift = i64::from(exponent) - fraction.len() as i64 + dropped as i64 + DECIMALS as i64;
        match shift {
            _ if negative => Err(NoAmount::Negative),
            ..0 => Err(NoAmount::TooManyDecimals),
            _ if trimmed.len() as i64 + shift > 16 => Err(NoAmount::TooLarge),
            _ => {
                let digits: i64 = trimmed.parse().map_err(|_| NoAmount::TooLarge)?;
                let amount = Amount(digits * 10_i64.pow(shift as u32));
                if amount > Amount::LARGEST { Err(NoAmount::TooLarge) } else { Ok(amount) }
            }
        }
    }

    /// A number that a vendor reports, rounded up to a millionth; none below zero.
    pub fn of_reported(number: f64) -> Amount {
        let millionths = (number * MILLION as f64).max(0.0);
        // 0.3 × 1,000,000 is 300,000 and a trifle.
        let nearest = millionths.round();
        let whole = if (millionths - nearest).abs() < 1e-3 { nearest } else { millionths.ceil() };
        // Saturates.
        Amount(whole as i64)
    }

    /// So many parts of it, rounded up.
    #[must_use]
    pub fn share(self, parts: usize, of: usize) -> Amount {
        let (whole, of) = (i128::from(self.0) * parts as i128, of.max(1) as i128);
        Amount(i64::try_from((whole + of - 1) / of).unwrap_or(i64::MAX))
    }

    /// As JSON has it; exact up to 2^53 millionths.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / MILLION as f64
    }

    /// Without decimals, if it has none.
    pub fn whole(self) -> Option<i64> {
        (self.0 % MILLION == 0).then_some(self.0 / MILLION)
    }

    #[must_use]
    pub fn plus(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }

    /// What is left, and never less than nothing.
    #[must_use]
    pub fn minus(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0).max(0))
    }

    #[must_use]
    pub fn times(self, number: u64) -> Amount {
        Amount(i64::try_from(i128::from(self.0) * i128::from(number)).unwrap_or(i64::MAX))
    }

    /// This many units at a price each, rounded up.
    #[must_use]
    pub fn at(self, each: Amount) -> Amount {
        let exact = i128::from(self.0) * i128::from(each.0);
        let million = i128::from(MILLION);
        Amount(i64::try_from((exact + million - 1).div_euclid(million)).unwrap_or(i64::MAX))
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::ZERO, Amount::plus)
    }
}

/// Without zeros at the end: `0.28`, `20`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (self.0.unsigned_abs() / MILLION as u64, self.0.unsigned_abs() % MILLION as u64);
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let rest = format!("{rest:06}");
        write!(f, "{sign}{whole}.{}", rest.trim_end_matches('0'))
    }
}

/// A currency by its three capital letters, such as USD. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Of requests without a price.
    pub const NONE: Currency = Currency([0; 3]);

    /// `None`: not three capital letters.
    pub fn parse(text: &str) -> Option<Currency> {
        let letters: [u8; 3] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Currency(letters))
    }

    /// Empty where there is none.
    pub fn name(&self) -> &str {
        if *self == Currency::NONE {
            return "";
        }
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_and_written_exactly() {
        for (text, millionths, written) in [
            ("0.28", 280_000, "0.28"),
            ("20.00", 20_000_000, "20"),
            ("0", 0, "0"),
            ("-0.0", 0, "0"),
            ("1e-6", 1, "0.000001"),
            ("1.5e2", 150_000_000, "150"),
            ("0.1000000", 100_000, "0.1"),
            (" +7 ", 7_000_000, "7"),
            ("1000000000", 1_000_000_000_000_000, "1000000000"),
        ] {
            assert_eq!(Amount::parse(text), Ok(Amount(millionths)), "{text}");
            assert_eq!(Amount(millionths).to_string(), written);
        }
        for (text, why) in [
            ("", NoAmount::NotANumber),
            (".", NoAmount::NotANumber),
            ("NaN", NoAmount::NotANumber),
            ("1,5", NoAmount::NotANumber),
            ("1e", NoAmount::NotANumber),
            ("-0.01", NoAmount::Negative),
            ("0.0000001", NoAmount::TooManyDecimals),
            ("1e-7", NoAmount::TooManyDecimals),
            ("1000000000.000001", NoAmount::TooLarge),
            ("1e300", NoAmount::TooLarge),
            ("99999999999999999999999", NoAmount::TooLarge),
        ] {
            assert_eq!(Amount::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::parse("USD").map(|c| c.to_string()), Some("USD".into()));
        for wrong in ["usd", "US", "USDT", "$", "", "U D", "€EU"] {
            assert_eq!(Currency::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Currency::NONE.name(), "");
    }

    #[test]
    fn reported_numbers_are_rounded_up() {
        assert_eq!(Amount::of_reported(0.3), Amount(300_000));
        assert_eq!(Amount::of_reported(2.0), Amount(2_000_000));
        assert_eq!(Amount::of_reported(0.123_456_7), Amount(123_457));
        assert_eq!(Amount::of_reported(-1.0), Amount::ZERO);
        assert_eq!(Amount::of_reported(f64::NAN), Amount::ZERO);
        // 1.5 credits at 0.000001 are 0.0000015.
        assert_eq!(Amount(1_500_000).at(Amount(1)), Amount(2));
    }

    proptest! {
        #[test]
        fn every_amount_comes_back(millionths in 0_i64..=Amount::LARGEST.0) {
            let amount = Amount(millionths);
            prop_assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
            prop_assert_eq!(amount.minus(amount), Amount::ZERO);
        }

        #[test]
        fn json_tells_every_amount(millionths in 0_i64..=Amount::LARGEST.0) {
            let written = serde_json::to_string(&Amount(millionths).to_f64()).unwrap();
            prop_assert_eq!(Amount::parse(&written), Ok(Amount(millionths)));
        }
    }
}
