//! One self-contained HTML page: pictures inside, no scripts, no network, light and dark.

use std::fmt::Write as _;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --paper: #ffffff; --card: #f6f8fa; --line: #d8dee4; --accent: #0b6bcb; --good: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117; --card: #161b22; --line: #30363d; --accent: #6cb6ff; --good: #57c574; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3rem 0 .5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; } .lead { color: var(--soft); font-size: 1.1rem; margin-top: 0; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
figure img { display: block; width: 100%; height: auto; }
figcaption { padding: .6rem .85rem; font-size: .9rem; color: var(--soft); } figcaption b { color: var(--ink); }
.row { display: grid; gap: 1rem; grid-template-columns: repeat(3, minmax(0, 1fr)); align-items: start; margin: 1.25rem 0; }
.wide { margin: 1.25rem 0; }
@media (max-width: 640px) { .row { grid-template-columns: minmax(0, 1fr); } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { text-align: right; padding: .4rem .9rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.best { color: var(--good); font-weight: 650; }
.bar { display: inline-block; height: .7em; border-radius: 2px; background: var(--accent); vertical-align: baseline; }
code { background: var(--card); border: 1px solid var(--line); border-radius: 5px; padding: .1em .35em; font-size: .9em; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; overflow-x: auto; } pre code { border: 0; padding: 0; }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .9rem; }
";

/// A page that grows from top to bottom.
pub(crate) struct Page {
    title: String,
    body: String,
}

/// One cell of a table.
pub(crate) enum Cell {
    /// Plain text.
    Text(String),
    /// The best of its row.
    Best(String),
    /// A bar of this share of the longest, with a text behind.
    Bar(f64, String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Page {
    /// An empty page with a title and one sentence below it.
    pub(crate) fn new(title: &str, lead: &str) -> Self {
        let body = format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escape(title), escape(lead));
        Self { title: title.to_owned(), body }
    }

    /// A heading.
    pub(crate) fn section(&mut self, heading: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(heading));
    }

    /// A paragraph; words between backticks become code.
    pub(crate) fn text(&mut self, text: &str) {
        let parts: Vec<_> = text.split('`').map(escape).collect();
        let mut html = String::new();
        for (i, part) in parts.iter().enumerate() {
            if i % 2 == 1 {
                let _ = write!(html, "<code>{part}</code>");
            } else {
                html += part;
            }
        }
        let _ = writeln!(self.body, "<p>{html}</p>");
    }

    /// A line that leads to another page of the same folder.
    pub(crate) fn link(&mut self, text: &str, page: &str) {
        // Only what would end the address, or mean something in it, has to be written otherwise.
        let address = page.replace('%', "%25").replace('#', "%23").replace('?', "%3F");
        let _ = writeln!(self.body, "<p><a href=\"{}\">{}</a></p>", escape(&address), escape(text));
    }

    /// Commands to type.
    pub(crate) fn commands(&mut self, lines: &[&str]) {
        let _ = writeln!(self.body, "<pre><code>{}</code></pre>", escape(&lines.join("\n")));
    }

    /// One picture in the full width, or several in rows of three: PNG file, name, caption.
    pub(crate) fn pictures(&mut self, pictures: &[(&[u8], &str, &str)]) {
        let class = if pictures.len() == 1 { "wide" } else { "row" };
        let _ = writeln!(self.body, "<div class=\"{class}\">");
        for (png, name, caption) in pictures {
            let (name, caption) = (escape(name), escape(caption));
            let dash = if caption.is_empty() { "" } else { " – " };
            let _ = writeln!(
                self.body,
                "<figure><img src=\"data:image/png;base64,{}\" alt=\"{name}\"><figcaption><b>{name}</b>{dash}{caption}</figcaption></figure>",
                base64(png)
            );
        }
        self.body += "</div>\n";
    }

    /// Markup of our own: drawings.
    pub(crate) fn markup(&mut self, html: &str) {
        self.body += html;
    }

    /// A table.
    pub(crate) fn table(&mut self, head: &[&str], rows: Vec<Vec<Cell>>) {
        self.body += "<div class=\"scroll\"><table><thead><tr>";
        for name in head {
            let _ = write!(self.body, "<th>{}</th>", escape(name));
        }
        self.body += "</tr></thead><tbody>\n";
        for row in rows {
            self.body += "<tr>";
            for cell in row {
                let _ = match cell {
                    Cell::Text(text) => write!(self.body, "<td>{}</td>", escape(&text)),
                    Cell::Best(text) => write!(self.body, "<td class=\"best\">{}</td>", escape(&text)),
                    Cell::Bar(share, text) => write!(
                        self.body,
                        "<td style=\"text-align:left\"><span class=\"bar\" style=\"width:{:.1}rem\"></span> {}</td>",
                        14.0 * share.clamp(0.01, 1.0),
                        escape(&text)
                    ),
                };
            }
            self.body += "</tr>\n";
        }
        self.body += "</tbody></table></div>\n";
    }

    /// The whole document.
    pub(crate) fn html(&self, footer: &str) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{}<footer>{}</footer>\n</main>\n</body>\n</html>\n",
            escape(&self.title),
            self.body,
            escape(footer)
        )
    }
}

/// Bytes as text for a `data:` address.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |n, &b| n << 8 | u32::from(b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]);
            out.push(if i <= three.len() { digit } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard() {
        // RFC 4648, section 10.
        for (plain, wanted) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), wanted);
        }
    }

    #[test]
    fn text_is_escaped_and_nothing_is_loaded() {
        let mut page = Page::new("a < b", "c & d");
        page.text("run `lockstep <x>`");
        page.table(&["x"], vec![vec![Cell::Best("1 < 2".into())]]);
        let html = page.html("made by <nobody>");
        assert!(html.contains("<code>lockstep &lt;x&gt;</code>") && html.contains("a &lt; b"));
        assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("<script"));
    }
}
