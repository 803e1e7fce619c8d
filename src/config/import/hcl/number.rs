//! Numbers as HCL computes them: binary floating point of many bits, written in decimal with as few digits
//! as tell one number from its neighbours.
//!
//! Bake's values carry 512 bits when they come from a file and 64 when they are counts; a result has the
//! precision of its most precise operand. What is out of all proportion is not a number here, so that no
//! file can ask for gigabytes of digits.

use std::cmp::Ordering;

use num_bigint::{BigInt, BigUint, Sign};

/// Bits of numbers from files.
const FILE_PRECISION: u64 = 512;
/// Bits of counts and lengths.
const COUNT_PRECISION: u64 = 64;
/// Powers of two, and of ten, beyond this are refused.
const LARGEST_EXPONENT: i64 = 1 << 15;

/// `mantissa × 2^exponent`, the mantissa odd or zero.
#[derive(Clone, Debug)]
pub struct Number {
    mantissa: BigInt,
    exponent: i64,
    precision: u64,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.mantissa == other.mantissa && self.exponent == other.exponent
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let (left, right, _) = self.aligned(other);
        left.cmp(&right)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::exact(BigInt::from(value), COUNT_PRECISION)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::exact(BigInt::from(value), COUNT_PRECISION)
    }
}

impl Number {
    fn exact(mantissa: BigInt, precision: u64) -> Self {
        Self::rounded(mantissa, 0, false, precision).expect("a small whole number has a small exponent")
    }

    /// The nearest number of so many bits, halves to even; `sticky` when the true value is a little further
    /// from zero than the mantissa says.
    fn rounded(mantissa: BigInt, exponent: i64, sticky: bool, precision: u64) -> Option<Self> {
        let (sign, mut magnitude) = mantissa.into_parts();
        let mut exponent = exponent;
        let bits = magnitude.bits();
        if bits > precision {
            let shift = bits - precision;
            let half = magnitude.bit(shift - 1);
            let below = sticky || magnitude.trailing_zeros().is_some_and(|zeros| zeros < shift - 1);
            magnitude >>= shift;
            exponent += i64::try_from(shift).ok()?;
            if half && (below || magnitude.bit(0)) {
                magnitude += 1u32;
            }
        }
        let zeros = magnitude.trailing_zeros().unwrap_or(0);
        magnitude >>= zeros;
        exponent += i64::try_from(zeros).ok()?;
        if magnitude == BigUint::ZERO {
            exponent = 0;
        }
        (exponent.abs() <= LARGEST_EXPONENT).then(|| Self {
            mantissa: BigInt::from_biguint(sign, magnitude),
            exponent,
            precision,
        })
    }

    /// A decimal number with an optional fraction and exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (digits, exponent) = match rest.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) || all.len() > 10_000 {
            return None;
        }
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        if exponent.abs() > LARGEST_EXPONENT {
            return None;
        }
        let magnitude = BigUint::parse_bytes(all.as_bytes(), 10)?;
        let sign = if is_negative { Sign::Minus } else { Sign::Plus };
        let mantissa = BigInt::from_biguint(sign, magnitude);
        let power = BigInt::from(10).pow(u32::try_from(exponent.unsigned_abs()).ok()?);
        if exponent >= 0 {
            Self::rounded(mantissa * power, 0, false, FILE_PRECISION)
        } else {
            Self::quotient(&mantissa, &power, 0, FILE_PRECISION)
        }
    }

    /// Digits of base 2 to 36, as `parseint` reads them.
    pub fn parse_integer(text: &str, base: u32) -> Option<Self> {
        if text.len() > 10_000 {
            return None;
        }
        let mantissa = BigInt::parse_bytes(text.as_bytes(), base)?;
        Self::rounded(mantissa, 0, false, FILE_PRECISION)
    }

    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let bits = value.to_bits();
        let field = i64::try_from((bits >> 52) & 0x7ff).ok()?;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) = match field {
            0 => (fraction, -1074),
            _ => (fraction | (1 << 52), field - 1075),
        };
        let sign = if value.is_sign_negative() { Sign::Minus } else { Sign::Plus };
        Self::rounded(BigInt::from_biguint(sign, BigUint::from(mantissa)), exponent, false, 53)
    }

    pub fn to_f64(&self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// `left ÷ right × 2^exponent`
    fn quotient(left: &BigInt, right: &BigInt, exponent: i64, precision: u64) -> Option<Self> {
        if right.sign() == Sign::NoSign {
            return None;
        }
        let wanted = precision + 2 + right.bits();
        let shift = wanted.saturating_sub(left.bits());
        let shifted = left << shift;
        let (quotient, rest) = (&shifted / right, &shifted % right);
        let sticky = rest.sign() != Sign::NoSign;
        Self::rounded(quotient, exponent - i64::try_from(shift).ok()?, sticky, precision)
    }

    /// Both mantissas for the smaller of both exponents.
    fn aligned(&self, other: &Self) -> (BigInt, BigInt, i64) {
        let exponent = self.exponent.min(other.exponent);
        let shifted = |number: &Self| &number.mantissa << (number.exponent - exponent).unsigned_abs();
        (shifted(self), shifted(other), exponent)
    }

    fn common_precision(&self, other: &Self) -> u64 {
        self.precision.max(other.precision)
    }

    pub fn add(&self, other: &Self) -> Option<Self> {
        let (left, right, exponent) = self.aligned(other);
        Self::rounded(left + right, exponent, false, self.common_precision(other))
    }

    pub fn subtract(&self, other: &Self) -> Option<Self> {
        self.add(&other.negate())
    }

    pub fn multiply(&self, other: &Self) -> Option<Self> {
        let exponent = self.exponent + other.exponent;
        Self::rounded(&self.mantissa * &other.mantissa, exponent, false, self.common_precision(other))
    }

    /// `None` for a division by zero.
    pub fn divide(&self, other: &Self) -> Option<Self> {
        let exponent = self.exponent - other.exponent;
        Self::quotient(&self.mantissa, &other.mantissa, exponent, self.common_precision(other))
    }

    /// What is left of a division without fraction; the sign is that of the dividend. Zero leaves all.
    pub fn modulo(&self, other: &Self) -> Option<Self> {
        if other.is_zero() {
            return Some(self.clone());
        }
        let (left, right, exponent) = self.aligned(other);
        Self::rounded(left % right, exponent, false, self.common_precision(other))
    }

    pub fn negate(&self) -> Self {
        Self { mantissa: -&self.mantissa, exponent: self.exponent, precision: self.precision }
    }

    pub fn is_zero(&self) -> bool {
        self.mantissa.sign() == Sign::NoSign
    }

    pub fn is_negative(&self) -> bool {
        self.mantissa.sign() == Sign::Minus
    }

    pub fn absolute(&self) -> Self {
        if self.is_negative() { self.negate() } else { self.clone() }
    }

    pub fn is_whole(&self) -> bool {
        self.exponent >= 0
    }

    /// Without its fraction.
    pub fn truncate(&self) -> Self {
        if self.is_whole() {
            return self.clone();
        }
        let divisor = BigInt::from(1) << self.exponent.unsigned_abs();
        Self::exact(&self.mantissa / divisor, self.precision)
    }

    pub fn floor(&self) -> Self {
        let whole = self.truncate();
        if whole > *self { Self::exact(whole.integer() - 1, self.precision) } else { whole }
    }

    pub fn ceil(&self) -> Self {
        self.negate().floor().negate()
    }

    /// The value without its fraction.
    pub fn integer(&self) -> BigInt {
        if self.is_whole() {
            &self.mantissa << self.exponent.unsigned_abs()
        } else {
            &self.mantissa / (BigInt::from(1) << self.exponent.unsigned_abs())
        }
    }

    /// The value when it is a whole number that fits.
    pub fn to_i64(&self) -> Option<i64> {
        if self.is_whole() { i64::try_from(self.integer()).ok() } else { None }
    }

    pub fn to_usize(&self) -> Option<usize> {
        self.to_i64().and_then(|value| usize::try_from(value).ok())
    }

    /// Decimal digits of the absolute value and how many of them are behind the point, every one exact.
    fn exact_digits(magnitude: &BigUint, exponent: i64) -> (Vec<u8>, usize) {
        let power = exponent.unsigned_abs();
        if exponent >= 0 {
            ((magnitude << power).to_string().into_bytes(), 0)
        } else {
            let places = usize::try_from(power).unwrap_or(usize::MAX);
            let scaled = magnitude * BigUint::from(5u32).pow(u32::try_from(power).unwrap_or(u32::MAX));
            (scaled.to_string().into_bytes(), places)
        }
    }

    /// Rounded to so many decimal places, halves away from what is not even.
    pub fn fixed(&self, places: usize) -> String {
        let (digits, behind) = Self::exact_digits(self.mantissa.magnitude(), self.exponent);
        let mut digits = padded(digits, behind + 1);
        let mut behind = behind;
        if behind > places {
            let kept = digits.len() - (behind - places);
            let rest = digits.split_off(kept);
            behind = places;
            let half = rest[0].cmp(&b'5').then_with(|| {
                if rest[1..].iter().all(|digit| *digit == b'0') { Ordering::Equal } else { Ordering::Greater }
            });
            let is_odd = digits.last().is_some_and(|digit| digit % 2 == 1);
            if half == Ordering::Greater || (half == Ordering::Equal && is_odd) {
                increment(&mut digits);
            }
        }
        digits.extend(std::iter::repeat_n(b'0', places - behind));
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let sign = if self.is_negative() { "-" } else { "" };
        let whole = String::from_utf8_lossy(whole);
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            trimmed => trimmed,
        };
        let point = if places > 0 { "." } else { "" };
        format!("{sign}{whole}{point}{}", String::from_utf8_lossy(fraction))
    }
}

impl std::fmt::Display for Number {
    /// As few digits as tell the number from its neighbours, never with an exponent.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let magnitude = self.mantissa.magnitude();
        let (digits, places) =
            if self.exponent >= 0 && magnitude.bits() + self.exponent.unsigned_abs() <= self.precision {
                Self::exact_digits(magnitude, self.exponent)
            } else {
                shortest_digits(magnitude, self.exponent, self.precision)
            };
        f.write_str(&with_point(self.is_negative(), &padded(digits, places + 1), places))
    }
}

/// The digits that tell `magnitude × 2^exponent` from the numbers half a unit of the last bit away.
fn shortest_digits(magnitude: &BigUint, exponent: i64, precision: u64) -> (Vec<u8>, usize) {
    let shift = (precision + 1).saturating_sub(magnitude.bits());
    let scaled = magnitude << shift;
    let exponent = exponent - i64::try_from(shift).unwrap_or(0);
    let inclusive = !scaled.bit(1);
    let (digits, places) = Number::exact_digits(&scaled, exponent);
    let (lower, _) = Number::exact_digits(&(&scaled - 1u32), exponent);
    let (upper, _) = Number::exact_digits(&(&scaled + 1u32), exponent);
    let width = digits.len().max(upper.len());
    let (mut digits, lower, upper) = (padded(digits, width), padded(lower, width), padded(upper, width));
    let length = |digits: &[u8]| digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let (lower_length, upper_length) = (length(&lower), length(&upper));
    for at in 0..width {
        let (digit, low, high) = (digits[at], lower[at], upper[at]);
        let down = low != digit || (inclusive && at + 1 >= lower_length);
        let up = digit != high && (inclusive || digit + 1 < high || at + 1 < upper_length);
        if !down && !up {
            continue;
        }
        let rest = digits.split_off(at + 1);
        let first = rest.first().copied().unwrap_or(b'0');
        let is_above =
            first > b'5' || (first == b'5' && (rest[1..].iter().any(|d| *d != b'0') || digit % 2 == 1));
        if up && (is_above || !down) {
            increment(&mut digits);
        }
        digits.extend(std::iter::repeat_n(b'0', width - (at + 1)));
        break;
    }
    (digits, places)
}

/// The next decimal number.
fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit != b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

fn padded(digits: Vec<u8>, width: usize) -> Vec<u8> {
    let missing = width.saturating_sub(digits.len());
    std::iter::repeat_n(b'0', missing).chain(digits).collect()
}

fn with_point(is_negative: bool, digits: &[u8], places: usize) -> String {
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let text = |digits: &[u8]| String::from_utf8_lossy(digits).into_owned();
    let mut written = text(whole);
    written = match written.trim_start_matches('0') {
        "" => "0".to_string(),
        trimmed => trimmed.to_string(),
    };
    let fraction = text(fraction);
    let kept = fraction.trim_end_matches('0');
    if !kept.is_empty() {
        written = format!("{written}.{kept}");
    }
    if is_negative && written != "0" { format!("-{written}") } else { written }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_written_as_they_were_read() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("007", "7"),
            ("0.1", "0.1"),
            ("1.50", "1.5"),
            ("-12.25", "-12.25"),
            ("1e3", "1000"),
            ("2.5e-3", "0.0025"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("3.141592653589793238462643383279", "3.141592653589793238462643383279"),
        ] {
            assert_eq!(number(text).to_string(), expected, "{text}");
        }
        for text in ["", "-", "1.2.3", "x", "1e", "1e99999999", "0x10", "inf"] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn results_are_rounded_in_binary_and_written_in_decimal() {
        let third = number("1").divide(&number("3")).unwrap();
        // The shortest text that gives the same 512 bits, as Go's `big.Float` has it.
        assert_eq!(third.to_string(), format!("0.{}5", "3".repeat(154)));
        assert_eq!(number("10").divide(&number("4")).unwrap().to_string(), "2.5");
        assert_eq!(number("0.1").add(&number("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(number("-7").modulo(&number("3")).unwrap().to_string(), "-1");
        assert_eq!(Number::from_f64(0.1).unwrap().to_string(), "0.1");
        assert_eq!(
            Number::from(1i64).divide(&Number::from(3i64)).unwrap().to_string(),
            "0.33333333333333333334"
        );
        assert!(number("1").divide(&number("0")).is_none());
    }

    #[test]
    fn fractions_go_up_and_down() {
        for (text, floor, ceil, truncated) in
            [("1.5", "1", "2", "1"), ("-1.5", "-2", "-1", "-1"), ("3", "3", "3", "3"), ("0", "0", "0", "0")]
        {
            let number = number(text);
            assert_eq!(number.floor().to_string(), floor);
            assert_eq!(number.ceil().to_string(), ceil);
            assert_eq!(number.truncate().to_string(), truncated);
        }
        assert!(number("1.25") < number("1.5") && number("-3") < number("2"));
    }
}
