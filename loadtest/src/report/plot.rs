//! Line plots as SVG, without any script.

use std::fmt::Write;

/// Size of a plot, units of SVG.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
/// Room for labels: left, right, top, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 14.0, 12.0, 34.0);
/// Those of the operator's page for what is accepted, delivered, put off, rejected and returned, light and dark, and one more. Next to each other none is
/// the only difference: a legend has names, lines have titles, and a bar stands in the order of the numbers beside it.
pub const COLOURS: [&str; 6] = [
    "var(--accepted)",
    "var(--delivered)",
    "var(--deferred)",
    "var(--rejected)",
    "var(--bounced)",
    "var(--soft)",
];

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By their logarithms; values below the smallest tick lie on it.
    Logarithmic,
}

/// One line.
pub struct Series {
    /// In the legend.
    pub name: String,
    /// Of [`COLOURS`].
    pub colour: usize,
    /// Dashed.
    pub dashed: bool,
    /// Points, by x.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
pub struct Plot {
    /// Above it.
    pub title: String,
    /// Below and beside it, with units.
    pub labels: (&'static str, &'static str),
    /// Of the values.
    pub scale: Scale,
    /// Names for places on the x axis; none: numbers.
    pub ticks: Vec<(f64, String)>,
    /// Moments to mark.
    pub marks: Vec<f64>,
    /// Lines.
    pub series: Vec<Series>,
}

/// Steps of 1, 2 or 5 times a power of ten, about `count` up to `most`.
fn step(most: f64, count: f64) -> f64 {
    let rough = (most / count).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0);
    factor * power
}

/// A number for an axis.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{}M", trim(value / 1e6)),
        size if size >= 1e3 => format!("{}k", trim(value / 1e3)),
        _ => trim(value),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text for use in HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    scale: Scale,
}

impl Frame {
    fn of(plot: &Plot) -> Frame {
        let points = || plot.series.iter().flat_map(|series| series.points.iter());
        let most =
            |of: fn(&(f64, f64)) -> f64| points().map(of).filter(|v| v.is_finite()).fold(0.0, f64::max);
        let right = plot.ticks.iter().map(|(at, _)| *at).fold(most(|point| point.0), f64::max).max(1e-9);
        let top = most(|point| point.1);
        let y = match plot.scale {
            Scale::Linear => {
                let step = step(top.max(1e-9), 4.0);
                (0.0, ((top / step).ceil() * step).max(step))
            }
            Scale::Logarithmic => {
                let least = points().map(|point| point.1).filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
                let least = if least.is_finite() { least } else { 1.0 };
                (10f64.powf(least.log10().floor()), 10f64.powf(top.max(least * 10.0).log10().ceil()))
            }
        };
        Frame { x: (0.0, right), y, scale: plot.scale }
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value - self.x.0) / (self.x.1 - self.x.0);
        MARGIN.0 + share * (WIDTH - MARGIN.0 - MARGIN.1)
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.y.0) / (self.y.1 - self.y.0),
            Scale::Logarithmic => {
                let (low, high) = (self.y.0.log10(), self.y.1.log10());
                (value.max(self.y.0).log10() - low) / (high - low)
            }
        };
        HEIGHT - MARGIN.3 - share * (HEIGHT - MARGIN.2 - MARGIN.3)
    }

    fn y_ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.y.1, 4.0);
                (0..=(self.y.1 / step).round() as usize).map(|at| at as f64 * step).collect()
            }
            Scale::Logarithmic => {
                let (low, high) = (self.y.0.log10().round() as i32, self.y.1.log10().round() as i32);
                (low..=high).map(|power| 10f64.powi(power)).collect()
            }
        }
    }
}

impl Plot {
    /// The plot as an element of HTML, with its title and legend.
    pub fn html(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let frame = Frame::of(self);
        let title = escape(&self.title);
        writeln!(out, "<figure><figcaption>{title}</figcaption>")?;
        writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">")?;
        self.axes(&frame, out)?;
        for mark in &self.marks {
            let x = frame.x(*mark);
            let (top, bottom) = (MARGIN.2, HEIGHT - MARGIN.3);
            writeln!(
                out,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"><title>SIGKILL at {mark:.1} s</title></line>"
            )?;
        }
        for series in &self.series {
            // Where there is nothing to show, the line has a gap.
            let (mut path, mut pen) = (String::new(), 'M');
            for (x, y) in &series.points {
                if x.is_finite() && y.is_finite() {
                    write!(path, "{pen}{:.1},{:.1}", frame.x(*x), frame.y(*y))?;
                    pen = 'L';
                } else {
                    pen = 'M';
                }
            }
            let dash = if series.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
            let (colour, name) = (COLOURS[series.colour % COLOURS.len()], escape(&series.name));
            writeln!(out, "<path d=\"{path}\" stroke=\"{colour}\"{dash}><title>{name}</title></path>")?;
        }
        out.push_str("</svg><div class=\"legend\">");
        for series in &self.series {
            let (colour, name) = (COLOURS[series.colour % COLOURS.len()], escape(&series.name));
            let style = if series.dashed { "dashed" } else { "solid" };
            write!(out, "<span><i style=\"border-top:2px {style} {colour}\"></i>{name}</span>")?;
        }
        if !self.marks.is_empty() {
            out.push_str("<span><i style=\"border-top:2px solid var(--mark)\"></i>SIGKILL</span>");
        }
        out.push_str("</div></figure>\n");
        Ok(())
    }

    fn axes(&self, frame: &Frame, out: &mut String) -> std::fmt::Result {
        let (left, right, bottom) = (MARGIN.0, WIDTH - MARGIN.1, HEIGHT - MARGIN.3);
        for value in frame.y_ticks() {
            let y = frame.y(value);
            writeln!(out, "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
            writeln!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                short(value)
            )?;
        }
        let ticks = if self.ticks.is_empty() {
            let step = step(frame.x.1, 8.0);
            (0..=(frame.x.1 / step) as usize).map(|at| (at as f64 * step, short(at as f64 * step))).collect()
        } else {
            self.ticks.clone()
        };
        for (value, name) in ticks {
            let (x, name) = (frame.x(value), escape(&name));
            // The last one ends where the plot ends.
            let anchor = if x > right - 1.0 { "end" } else { "middle" };
            writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
                bottom + 15.0
            )?;
        }
        let (middle, foot) = ((left + right) / 2.0, HEIGHT - 4.0);
        writeln!(
            out,
            "<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">{}</text>",
            escape(self.labels.0)
        )?;
        let centre = (MARGIN.2 + bottom) / 2.0;
        writeln!(
            out,
            "<text transform=\"translate(12 {centre}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(self.labels.1)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_round() {
        assert_eq!([step(97.0, 4.0), step(3.0, 4.0), step(0.9, 4.0)], [50.0, 1.0, 0.5]);
        assert_eq!([short(0.0), short(1500.0), short(2e6), short(0.25)], ["0", "1.5k", "2M", "0.25"]);
    }

    #[test]
    fn whatever_the_values_the_plot_is_sound() {
        for points in
            [vec![], vec![(0.0, 0.0)], vec![(0.0, f64::NAN), (1.0, f64::INFINITY)], vec![(5.0, 1e12)]]
        {
            for scale in [Scale::Linear, Scale::Logarithmic] {
                let series = Series { name: "a <b>".into(), colour: 9, dashed: true, points: points.clone() };
                let plot = Plot {
                    title: "x & y".into(),
                    labels: ("s", "ms"),
                    scale,
                    ticks: Vec::new(),
                    marks: vec![1.0],
                    series: vec![series],
                };
                let text = plot.html();
                assert!(text.contains("x &amp; y") && text.contains("a &lt;b&gt;"), "{text}");
                assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            }
        }
    }
}
