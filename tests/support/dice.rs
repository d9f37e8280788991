//! Numbers that look like chance and come again with the same seed.

/// xorshift64*; the seed is not 0.
pub struct Dice(pub u64);

impl Dice {
    /// From 0 to below `sides`.
    pub fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// A number from the environment, such as a seed.
pub fn number_of(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
