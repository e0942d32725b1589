//! The parts of an SVG: rectangles, lines and texts, whose classes a style sheet within it explains.

use std::fmt::Write as _;

/// A picture in the making. Lengths are in pixels.
pub(super) struct Svg {
    style: &'static str,
    title: String,
    body: String,
}

/// The text with an entity for each character that XML uses for itself.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Svg {
    /// Nothing yet; `title` is for readers who do not see the picture.
    pub(super) fn new(title: &str, style: &'static str) -> Self {
        Self { style, title: escaped(title), body: String::new() }
    }

    /// A rectangle with corners of this radius.
    pub(super) fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4], radius: f64) {
        let size = format!(r#"x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="{radius}""#);
        writeln!(self.body, r#"<rect class="{class}" {size}/>"#).expect("text takes text");
    }

    /// A line.
    pub(super) fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        let ends = format!(r#"x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}""#);
        writeln!(self.body, r#"<line class="{class}" {ends}/>"#).expect("text takes text");
    }

    /// A circle.
    pub(super) fn circle(&mut self, class: &str, [x, y, radius]: [f64; 3]) {
        writeln!(self.body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#)
            .expect("text takes text");
    }

    /// A text whose baseline begins at `x`, or where its class has the anchor.
    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let text = escaped(text);
        writeln!(self.body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#)
            .expect("text takes text");
    }

    /// The same, exactly so wide in every font.
    pub(super) fn wide_text(&mut self, class: &str, (x, y): (f64, f64), width: f64, text: &str) {
        let length = format!(r#"textLength="{width:.1}" lengthAdjust="spacingAndGlyphs""#);
        let text = escaped(text);
        writeln!(self.body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}" {length}>{text}</text>"#)
            .expect("text takes text");
    }

    /// The file.
    pub(super) fn finish(self, width: f64, height: f64) -> String {
        let Self { style, title, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>{title}</title>\n\
             <style>{style}</style>\n{body}</svg>\n"
        )
    }
}
