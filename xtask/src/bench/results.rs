//! Figures by name.

use std::collections::BTreeMap;

/// What was measured. A name that was not is 0.
#[derive(Debug, Default)]
pub struct Results(BTreeMap<String, f64>);

impl Results {
    /// Gives a figure, in place of the one of this name.
    pub fn set(&mut self, name: impl Into<String>, figure: f64) {
        self.0.insert(name.into(), figure);
    }

    /// The figure of this name; 0 where it was not measured.
    pub fn get(&self, name: impl AsRef<str>) -> f64 {
        self.find(name).unwrap_or_default()
    }

    /// The figure of this name; `None` where it was not measured.
    pub fn find(&self, name: impl AsRef<str>) -> Option<f64> {
        self.0.get(name.as_ref()).copied()
    }

    /// How many times the second figure the first is; `None` where one was not measured, or the second is 0.
    pub fn ratio(&self, a: impl AsRef<str>, b: impl AsRef<str>) -> Option<f64> {
        let (a, b) = (self.find(a)?, self.find(b)?);
        (b > 0.0).then(|| a / b)
    }

    /// Keeps the least: what else the machine does only ever adds.
    pub fn least(&mut self, name: impl Into<String>, figure: f64) {
        let kept = self.0.entry(name.into()).or_insert(f64::INFINITY);
        *kept = kept.min(figure);
    }

    /// Keeps the most.
    pub fn best(&mut self, name: impl Into<String>, figure: f64) {
        let kept = self.0.entry(name.into()).or_insert(0.0);
        *kept = kept.max(figure);
    }
}

/// `a / b`, and 0 where there is no b.
pub fn per(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// The middle one, or the mean of the two in the middle.
/// 0 where there are no figures.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ratios_and_bests() {
        assert_eq!([median(&[]), median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])], [0.0, 2.0, 2.5]);
        assert_eq!((per(1.0, 4.0), per(1.0, 0.0)), (0.25, 0.0));
        let mut results = Results::default();
        for figure in [2.0, 1.0, 3.0] {
            results.least("least", figure);
            results.best("best", figure);
        }
        assert_eq!((results.get("least"), results.get("best"), results.get("none")), (1.0, 3.0, 0.0));
        results.set("zero", 0.0);
        assert_eq!((results.find("best"), results.find("none")), (Some(3.0), None));
        let ratios = [("best", "least"), ("best", "zero"), ("best", "none"), ("none", "best")];
        assert_eq!(ratios.map(|(a, b)| results.ratio(a, b)), [Some(3.0), None, None, None]);
    }
}
