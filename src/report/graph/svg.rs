//! A plan as one picture without any other file: a card for each target's builds, columns in the order of
//! work, light or dark as the viewer likes it. Every card, row and line has a title for the pointer.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use super::counts;
use super::layout::{self, Card};
use crate::base::{NodeId, Platform};
use crate::plan::{Node, Plan};

const MARGIN: f64 = 32.0;
/// What stands above the columns.
const HEAD: f64 = 92.0;
const TITLE_HEIGHT: f64 = 30.0;
const ROW_HEIGHT: f64 = 22.0;
/// Below the last row.
const FOOT: f64 = 8.0;
/// Between two columns.
const CHANNEL: f64 = 96.0;
/// What a letter takes, more or less: the viewer's fonts are not known here.
const LETTER: f64 = 7.3;
/// Longer texts are cut; their titles have all of them.
const MOST_LETTERS: usize = 44;
/// What a line that passes a column takes of it.
const LANE: f64 = 8.0;
/// How many names of an image are shown.
const MOST_ROWS: usize = 3;

const STYLE: &str = "
  svg { --ground: #ffffff; --card: #f7f8fa; --line: #d5dae2; --text: #1c2330; --quiet: #687385; --edge: #9aa5b5;
        --base: #8a93a3; --build: #2f6fed; --verify: #8a5cd6; --merge: #1f9d63; --publish: #d97a1c;
        --p0: #2f6fed; --p1: #8b4fe0; --p2: #0d9488; --p3: #d6457f; --p4: #b7791f; --p5: #64748b;
        font-family: ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif; font-size: 13px; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #10141b; --card: #1a202a; --line: #303947; --text: #e6eaf1; --quiet: #929daf; --edge: #566173;
          --base: #7d889a; --build: #6b9dff; --verify: #b493f5; --merge: #45c98a; --publish: #f0a04b;
          --p0: #6b9dff; --p1: #b78bff; --p2: #2dd4bf; --p3: #f57fae; --p4: #e0b04a; --p5: #94a3b8; }
  }
  .ground { fill: var(--ground); } .card { fill: var(--card); stroke: var(--line); }
  text { fill: var(--text); } .head { font-size: 19px; font-weight: 650; } .name { font-weight: 600; }
  .quiet { fill: var(--quiet); } .column { fill: var(--quiet); font-size: 11px; letter-spacing: .09em; }
  .edge { fill: none; stroke: var(--edge); stroke-width: 1.4; stroke-opacity: .65; }
  .edge:hover { stroke: var(--build); stroke-opacity: 1; stroke-width: 2.4; }
  .base { fill: var(--base); } .build { fill: var(--build); } .verify { fill: var(--verify); } .merge { fill: var(--merge); } .publish { fill: var(--publish); }
  .p0 { fill: var(--p0); } .p1 { fill: var(--p1); } .p2 { fill: var(--p2); } .p3 { fill: var(--p3); } .p4 { fill: var(--p4); } .p5 { fill: var(--p5); }
";

/// The picture.
pub fn svg(plan: &Plan) -> String {
    Picture::new(plan).draw()
}

/// One box: a title, and rows below it.
struct Frame {
    level: usize,
    class: &'static str,
    title: String,
    rows: Vec<Row>,
}

struct Row {
    text: String,
    /// The number of its platform's colour.
    colour: Option<usize>,
}

/// Where a node is: a box, and one of its rows or its title.
#[derive(Clone, Copy)]
struct Spot {
    card: usize,
    row: Option<usize>,
}

struct Picture<'a> {
    plan: &'a Plan,
    colours: BTreeMap<&'a Platform, usize>,
    boxes: Vec<Frame>,
    spots: HashMap<NodeId, Spot>,
}

impl<'a> Picture<'a> {
    fn new(plan: &'a Plan) -> Self {
        let platforms: BTreeSet<&Platform> = plan
            .nodes()
            .filter_map(|(_, node)| match node {
                Node::Build(build) => Some(&build.platform),
                _ => None,
            })
            .collect();
        let colours = platforms.into_iter().zip(0..).collect();
        let mut picture = Self { plan, colours, boxes: Vec::new(), spots: HashMap::new() };
        let levels = levels(plan);
        let mut shared: HashMap<(&str, &str, usize), usize> = HashMap::new();
        for (id, node) in plan.nodes() {
            let level = levels[&id];
            if let Some((class, target, platform)) = of_platform(node) {
                let card = *shared.entry((class, target, level)).or_insert_with(|| {
                    picture.boxes.push(Frame { level, class, title: target.to_string(), rows: Vec::new() });
                    picture.boxes.len() - 1
                });
                let row = Row { text: platform.to_string(), colour: picture.colours.get(platform).copied() };
                picture.boxes[card].rows.push(row);
                picture.spots.insert(id, Spot { card, row: Some(picture.boxes[card].rows.len() - 1) });
            } else {
                picture.spots.insert(id, Spot { card: picture.boxes.len(), row: None });
                picture.boxes.push(single(node, level));
            }
        }
        picture
    }

    fn draw(&self) -> String {
        let (lanes, links, passing) = self.links();
        let frames = self.boxes.iter().map(|one| Card { level: one.level, height: one.height() });
        let passed = passing.iter().map(|level| Card { level: *level, height: LANE });
        let cards: Vec<Card> = frames.chain(passed).collect();
        let tops: Vec<f64> = layout::tops(&cards, &links).into_iter().map(|top| top + HEAD).collect();
        let columns = self.columns();
        let width = columns.last().map_or(0.0, |column| column.x + column.width).max(360.0) + MARGIN;
        let bottoms = self.boxes.iter().zip(&tops).map(|(one, top)| top + one.height());
        let height = bottoms.fold(HEAD, f64::max) + MARGIN;
        let mut text = String::new();
        let _ = writeln!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>build plan: {0}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
             <text x=\"{MARGIN}\" y=\"40\"><tspan class=\"head\">Build plan</tspan>\
             <tspan class=\"quiet\" dx=\"14\">{0}</tspan></text>",
            escaped(&counts(self.plan)),
        );
        for column in &columns {
            let _ = writeln!(
                text,
                "<text class=\"column\" x=\"{:.1}\" y=\"74\">{}</text>",
                column.x + 2.0,
                column.title
            );
        }
        self.edges(&mut text, &columns, &tops, &lanes);
        for (one, top) in self.boxes.iter().zip(&tops) {
            one.draw(&mut text, &columns[one.level], *top);
        }
        text.push_str("</svg>\n");
        text
    }

    /// What is linked with what. A link that passes columns has a place of its own in each of them: their levels
    /// come third, and come first as numbers after those of the boxes.
    fn links(&self) -> (Lanes, Vec<(usize, usize)>, Vec<usize>) {
        let (mut lanes, mut links, mut passing) = (Lanes::new(), Vec::new(), Vec::new());
        for (id, _) in self.plan.nodes() {
            for need in self.plan.dependencies(id) {
                let pair = (self.spots[&need].card, self.spots[&id].card);
                let Entry::Vacant(entry) = lanes.entry(pair) else { continue };
                let mut chain = vec![pair.0];
                for level in self.boxes[pair.0].level + 1..self.boxes[pair.1].level {
                    chain.push(self.boxes.len() + passing.len());
                    passing.push(level);
                }
                entry.insert(chain[1..].to_vec());
                chain.push(pair.1);
                links.extend(chain.windows(2).map(|link| (link[0], link[1])));
            }
        }
        (lanes, links, passing)
    }

    fn edges(&self, text: &mut String, columns: &[Column], tops: &[f64], lanes: &Lanes) {
        for (id, node) in self.plan.nodes() {
            for need in self.plan.dependencies(id) {
                let (from, to) = (self.spots[&need], self.spots[&id]);
                let start = &columns[self.boxes[from.card].level];
                let mut line = Line::new(start.x + start.width, tops[from.card] + middle(from.row));
                for (lane, level) in
                    lanes[&(from.card, to.card)].iter().zip(self.boxes[from.card].level + 1..)
                {
                    let column = &columns[level];
                    line.bend_to(column.x, tops[*lane] + LANE / 2.0);
                    line.straight_to(column.x + column.width);
                }
                line.bend_to(columns[self.boxes[to.card].level].x, tops[to.card] + middle(to.row));
                let _ = writeln!(
                    text,
                    "<path class=\"edge\" d=\"{}\"><title>{} → {}</title></path>",
                    line.path,
                    escaped(&self.plan.node(need).to_string()),
                    escaped(&node.to_string()),
                );
            }
        }
    }

    /// As wide as their widest box.
    fn columns(&self) -> Vec<Column> {
        let count = self.boxes.iter().map(|one| one.level + 1).max().unwrap_or(0);
        let mut columns: Vec<Column> = Vec::new();
        let mut x = MARGIN;
        for level in 0..count {
            let boxes = || self.boxes.iter().filter(|one| one.level == level);
            let width = boxes().map(Frame::width).fold(120.0, f64::max);
            let classes: BTreeSet<&str> = boxes().map(|one| one.class).collect();
            let title = match classes.into_iter().collect::<Vec<_>>()[..] {
                ["base"] => "BASES",
                ["verify"] => "VERIFIED",
                ["merge"] => "MERGES",
                ["publish"] => "PUBLISH",
                ["build"] | ["base", "build"] => "BUILDS",
                _ => "BUILDS, MERGES",
            };
            columns.push(Column { x, width, title });
            x += width + CHANNEL;
        }
        columns
    }
}

/// The places that a link between two boxes has in the columns it passes.
type Lanes = HashMap<(usize, usize), Vec<usize>>;

/// A path that goes from left to right.
struct Line {
    path: String,
    x: f64,
    y: f64,
}

impl Line {
    fn new(x: f64, y: f64) -> Self {
        Self { path: format!("M{x:.1} {y:.1}"), x, y }
    }

    fn bend_to(&mut self, x: f64, y: f64) {
        let bend = (x - self.x) / 2.0;
        let (from, to) = (self.x + bend, x - bend);
        let _ = write!(self.path, "C{from:.1} {:.1} {to:.1} {y:.1} {x:.1} {y:.1}", self.y);
        (self.x, self.y) = (x, y);
    }

    fn straight_to(&mut self, x: f64) {
        let _ = write!(self.path, "H{x:.1}");
        self.x = x;
    }
}

struct Column {
    x: f64,
    width: f64,
    title: &'static str,
}

/// The column of each node: after all it waits for. Merges that nothing but the end waits for stand together.
fn levels(plan: &Plan) -> HashMap<NodeId, usize> {
    let mut levels: HashMap<NodeId, usize> = HashMap::new();
    // Bases have a column of their own, the first, if there are any.
    let has_bases = plan.nodes().any(|(_, node)| matches!(node, Node::Resolve(_)));
    for (id, node) in plan.nodes() {
        let after = plan.dependencies(id).iter().map(|need| levels[need] + 1).max().unwrap_or(0);
        let least = usize::from(has_bases && !matches!(node, Node::Resolve(_)));
        levels.insert(id, after.max(least));
    }
    let is_last =
        |id: NodeId| plan.dependents(id).iter().all(|next| matches!(plan.node(*next), Node::Publish(_)));
    let merges = plan.nodes().filter(|(id, node)| matches!(node, Node::Merge(_)) && is_last(*id));
    let merges: Vec<NodeId> = merges.map(|(id, _)| id).collect();
    let end = merges.iter().map(|id| levels[id]).max().unwrap_or(0);
    levels.extend(merges.into_iter().map(|id| (id, end)));
    let publish =
        plan.nodes().filter(|(_, node)| matches!(node, Node::Publish(_))).map(|(id, _)| (id, end + 1));
    levels.extend(publish.collect::<Vec<_>>());
    levels
}

/// What is one row of a card for its target.
fn of_platform(node: &Node) -> Option<(&'static str, &str, &Platform)> {
    match node {
        Node::Build(build) => Some(("build", &build.target, &build.platform)),
        Node::Verify(verify) => Some(("verify", &verify.target, &verify.platform)),
        Node::Resolve(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => None,
    }
}

/// The box of a node that has one of its own.
fn single(node: &Node, level: usize) -> Frame {
    let (class, title, rows) = match node {
        Node::Resolve(resolve) => {
            let platforms: BTreeSet<String> =
                resolve.wanted.iter().map(|(platform, _)| platform.to_string()).collect();
            ("base", resolve.source.to_string(), platforms.into_iter().collect())
        }
        Node::Merge(merge) => {
            ("merge", merge.target.clone(), merge.names.iter().map(|name| name.familiar()).collect())
        }
        Node::Publish(publish) => {
            let names = publish.targets.iter().map(|target| target.names.len()).sum::<usize>();
            let count =
                |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
            (
                "publish",
                "publish".to_string(),
                vec![count(publish.targets.len(), "image"), count(names, "tag")],
            )
        }
        Node::Verify(verify) => ("verify", verify.target.clone(), vec![verify.platform.to_string()]),
        Node::Test(test) => ("verify", format!("test {}", test.target), vec![test.platform.to_string()]),
        Node::Build(build) => ("build", build.target.clone(), vec![build.platform.to_string()]),
    };
    let mut rows: Vec<Row> = rows.into_iter().map(|text: String| Row { text, colour: None }).collect();
    if rows.len() > MOST_ROWS {
        let text = format!("and {} more", rows.len() - MOST_ROWS + 1);
        rows.truncate(MOST_ROWS - 1);
        rows.push(Row { text, colour: None });
    }
    Frame { level, class, title, rows }
}

/// The height in a box where lines of a row, or of all of it, begin and end.
fn middle(row: Option<usize>) -> f64 {
    match row {
        Some(row) => TITLE_HEIGHT + ROW_HEIGHT * row as f64 + ROW_HEIGHT / 2.0 - 3.0,
        None => TITLE_HEIGHT / 2.0 + 1.0,
    }
}

impl Frame {
    fn height(&self) -> f64 {
        let rows = self.rows.len() as f64 * ROW_HEIGHT;
        TITLE_HEIGHT + rows + if self.rows.is_empty() { 0.0 } else { FOOT - 4.0 }
    }

    fn width(&self) -> f64 {
        let letters = |text: &str| shortened(text).chars().count() as f64;
        let rows = self.rows.iter().map(|row| letters(&row.text) * LETTER + 18.0);
        rows.fold(letters(&self.title) * (LETTER + 0.5), f64::max) + 34.0
    }

    fn draw(&self, text: &mut String, column: &Column, top: f64) {
        let (x, width, height) = (column.x, column.width, self.height());
        let all: Vec<&str> = std::iter::once(self.title.as_str())
            .chain(self.rows.iter().map(|row| row.text.as_str()))
            .collect();
        let _ = write!(
            text,
            "<g><title>{} {}</title><rect class=\"card\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"9\"/>\
             <rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"4\" height=\"14\" rx=\"2\"/>\
             <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            self.class,
            escaped(&all.join("\n")),
            self.class,
            x + 10.0,
            top + 9.0,
            x + 22.0,
            top + 20.5,
            escaped(&shortened(&self.title)),
        );
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + middle(Some(index));
            let inset = match row.colour {
                Some(colour) => {
                    let _ = write!(
                        text,
                        "<circle class=\"p{}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\"/>",
                        colour % 6,
                        x + 26.0
                    );
                    36.0
                }
                None => 22.0,
            };
            let _ = write!(
                text,
                "<text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + inset,
                y + 4.5,
                escaped(&shortened(&row.text))
            );
        }
        text.push_str("</g>\n");
    }
}

/// The end tells more than the beginning: tags follow registries.
fn shortened(text: &str) -> String {
    let letters = text.chars().count();
    match letters > MOST_LETTERS {
        true => format!("…{}", text.chars().skip(letters - MOST_LETTERS + 1).collect::<String>()),
        false => text.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not in XML at all.
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' => {}
            other => escaped.push(other),
        }
    }
    escaped
}
