//! The plot of calls a second: a file of SVG, with what it shows in words, in the colours of light and of dark pages.

use std::fmt::Write;

use super::calls::{Cell, best_by_hand, figure, keyed};
use super::results::Results;
use super::table::whole;

/// Bars side by side: ours, by hand, base. `None`: not measured.
struct Group {
    title: &'static str,
    rates: [Option<f64>; 3],
    /// Which function by hand it was.
    best: String,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// The edges of the area in which bars stand.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 88.0;
const BOTTOM: f64 = 344.0;
const BAR: f64 = 48.0;
const GAP: f64 = 6.0;

/// Both schemes in one file. The colours are told apart without seeing red or green, and each bar bears its number.
const STYLE: &str = "
    text { font-family: system-ui, sans-serif; font-size: 13px; fill: #1f2328; }
    .title { font-size: 16px; font-weight: 600; }
    .small { font-size: 12px; fill: #57606a; }
    .number { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
    .page { fill: #ffffff; } .line { stroke: #d0d7de; } .axis { stroke: #57606a; }
    .b0 { fill: #0969da; } .b1 { fill: #bc4c00; } .b2 { fill: #8c959f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; } .small { fill: #9198a1; } .number { stroke: #0d1117; }
      .page { fill: #0d1117; } .line { stroke: #30363d; } .axis { stroke: #9198a1; }
      .b0 { fill: #58a6ff; } .b1 { fill: #f0883e; } .b2 { fill: #6e7681; }
    }
";

/// The plot, or `None` where nothing was measured that it would show. `made`: when and on what it was measured, for the last
/// line. `base`: the commit to compare with.
pub fn plot(rivals: &[&str], base: Option<&str>, made: &str, results: &Results) -> Option<String> {
    let groups = groups(rivals, results);
    let most = groups.iter().flat_map(|group| group.rates).flatten().fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let base = base.map(|commit| format!("commit {commit}"));
    let names = ["leadlex_enrich", "the best by hand", base.as_deref().unwrap_or("")];
    Some(svg(&groups, names, most, made))
}

fn groups(rivals: &[&str], results: &Results) -> Vec<Group> {
    let group = |title, cell: Cell, with_key: bool| {
        let of = |who: &str| {
            let who = if with_key { keyed(who) } else { who.to_owned() };
            results.find(figure(&who, cell)).filter(|rate| *rate > 0.0)
        };
        let by_hand = best_by_hand(rivals, results, cell, with_key).filter(|(_, rate)| *rate > 0.0);
        let (best, rate) = by_hand.unzip();
        Group { title, rates: [of("ours"), rate, of("base")], best: best.unwrap_or_default() }
    };
    vec![
        group("1 client", (1, 0), false),
        group("1 client, idempotency key", (1, 0), true),
        group("32 clients", (32, 0), false),
    ]
}

/// The distance of the axis's lines, and its end: at least `most`, after three to six lines. Steps are 1, 2 or 5 with noughts.
fn scale(most: f64) -> (f64, f64) {
    let rough = most / 5.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    let step = step.into_iter().find(|step| *step >= rough * 0.999_999).unwrap_or(magnitude * 10.0);
    (step, (most / step * 0.999_999).ceil() * step)
}

fn svg(groups: &[Group], names: [&str; 3], most: f64, made: &str) -> String {
    let made = escaped(made);
    let names = names.map(escaped);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">Calls a second of enrich_contact, beside a function by hand and an earlier commit</title>\n\
         <desc id=\"desc\">{} {made}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"30\">Calls a second, the provider answering at once</text>\n",
        described(groups, &names),
    );
    let shown = [0, 1, 2].map(|bar| groups.iter().any(|group| group.rates[bar].is_some()));
    out.push_str(&legend(&names, shown));
    out.push_str(&axis(most));
    out.push_str(&bars(groups, most));
    let _ = writeln!(out, "<text class=\"small\" x=\"20\" y=\"{:.0}\">{made}</text>\n</svg>", HEIGHT - 12.0);
    out
}

/// All numbers in a sentence for each group.
fn described(groups: &[Group], names: &[String; 3]) -> String {
    let sentence = |group: &Group| {
        let rates = group.rates.iter().zip(names).enumerate().filter_map(|(bar, (rate, name))| {
            let which = if bar == 1 { format!(" ({})", group.best) } else { String::new() };
            Some(format!("{name}{} {}", escaped(&which), whole((*rate)?)))
        });
        format!("{}: {}.", group.title, rates.collect::<Vec<_>>().join(", "))
    };
    let measured = groups.iter().filter(|group| group.rates.iter().any(Option::is_some));
    measured.map(sentence).collect::<Vec<_>>().join(" ")
}

fn legend(names: &[String; 3], shown: [bool; 3]) -> String {
    let mut out = String::new();
    let mut x = LEFT;
    for (bar, name) in names.iter().enumerate().filter(|(bar, _)| shown[*bar]) {
        let _ = writeln!(
            out,
            "<rect class=\"b{bar}\" x=\"{x}\" y=\"46\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"57\">{name}</text>",
            x + 18.0
        );
        x += 44.0 + 7.5 * name.chars().count() as f64;
    }
    out
}

/// How far up the page so many calls are.
fn height(rate: f64, top: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * rate / top
}

fn axis(most: f64) -> String {
    let (step, top) = scale(most);
    let mut out = String::new();
    for line in 0..=(top / step).round() as u32 {
        let rate = f64::from(line) * step;
        let y = height(rate, top);
        let class = if line == 0 { "axis" } else { "line" };
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"small\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            whole(rate)
        );
    }
    let middle = f64::midpoint(TOP, BOTTOM);
    let _ = writeln!(
        out,
        "<text class=\"small\" transform=\"translate(18 {middle:.0}) rotate(-90)\" text-anchor=\"middle\">calls a second</text>"
    );
    out
}

fn bars(groups: &[Group], most: f64) -> String {
    let (_, top) = scale(most);
    let width = (RIGHT - LEFT) / groups.len() as f64;
    let mut out = String::new();
    for (place, group) in groups.iter().enumerate() {
        let middle = (place as f64 + 0.5).mul_add(width, LEFT);
        let _ = writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 20.0,
            group.title
        );
        let measured: Vec<_> =
            group.rates.iter().enumerate().filter_map(|(bar, rate)| Some((bar, (*rate)?))).collect();
        let taken = (BAR + GAP).mul_add(measured.len() as f64, -GAP);
        for (number, (bar, rate)) in measured.into_iter().enumerate() {
            let (x, y) = ((BAR + GAP).mul_add(number as f64, middle - taken / 2.0), height(rate, top));
            let _ = writeln!(
                out,
                "<rect class=\"b{bar}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{BAR}\" height=\"{:.1}\"/>\
                 <text class=\"number\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                BOTTOM - y,
                x + BAR / 2.0,
                y - 5.0,
                whole(rate)
            );
        }
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_above_the_most_after_a_few_round_steps() {
        for (most, wanted) in [
            (1.0, (0.2, 1.0)),
            (9.0, (2.0, 10.0)),
            (1_000.0, (200.0, 1_000.0)),
            (1_001.0, (500.0, 1_500.0)),
            (2_069.0, (500.0, 2_500.0)),
            (5_197.0, (2_000.0, 6_000.0)),
            (50_000.0, (10_000.0, 50_000.0)),
        ] {
            let (step, top) = scale(most);
            assert!((step - wanted.0).abs() < 1e-6 && (top - wanted.1).abs() < 1e-6, "{most}: {step} {top}");
        }
        for most in (1..3_000).map(|number| f64::from(number) * 7.3) {
            let (step, top) = scale(most);
            let lines = (top / step).round();
            assert!(top >= most * 0.999 && (3.0..=6.0).contains(&lines), "{most}: {step} {top}");
        }
    }

    #[test]
    fn a_bar_is_as_high_as_its_number() {
        assert!((height(0.0, 10.0) - BOTTOM).abs() < 1e-9 && (height(10.0, 10.0) - TOP).abs() < 1e-9);
        assert!((height(5.0, 10.0) - f64::midpoint(TOP, BOTTOM)).abs() < 1e-9);
    }

    #[test]
    fn the_plot_says_in_words_what_it_shows() {
        let mut results = Results::default();
        for (name, rate) in [
            ("ours:1:0", 2_400.0),
            ("urllib3.enrich_lock_last:1:0", 1_100.0),
            ("base:1:0", 0.0),
            ("ours:32:0", 5_000.0),
        ] {
            results.set(name, rate);
        }
        let plot = plot(&["urllib3"], Some("a<b"), "today & here", &results).unwrap();
        assert!(plot.contains(
            "<desc id=\"desc\">1 client: leadlex_enrich 2,400, the best by hand (urllib3, lock last) 1,100. \
             32 clients: leadlex_enrich 5,000. today &amp; here</desc>"
        ));
        // Three bars, two colours in the legend, and the page.
        assert_eq!(plot.matches("<rect").count(), 6);
        assert!(!plot.contains("a<b") && !plot.contains("commit a") && plot.contains("role=\"img\""));
        assert!(super::plot(&["urllib3"], None, "", &Results::default()).is_none());
    }
}
