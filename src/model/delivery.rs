//! What is done with a target's result besides its own outputs.

use super::{ExportOptions, Output};
use crate::diag::Located;

/// What groups and `--set` say about pushing and loading. `None` leaves it to the outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub push: Option<bool>,
    pub load: Option<bool>,
}

impl Delivery {
    /// Changes outputs as bake's flags do.
    pub fn apply(self, outputs: &mut Vec<Located<Output>>) {
        match self.push {
            Some(true) => add_push(outputs),
            Some(false) => take_push_away(outputs),
            None => {}
        }
        match self.load {
            Some(true) => add_load(outputs),
            Some(false) => {
                outputs.retain(|output| !matches!(output.value, Output::Docker { dest: None, .. }))
            }
            None => {}
        }
    }
}

fn add_push(outputs: &mut Vec<Located<Output>>) {
    let mut pushed = false;
    for output in outputs.iter_mut() {
        if let Output::Image { push, .. } = &mut output.value {
            *push = true;
            pushed = true;
        }
    }
    if !pushed {
        let options = ExportOptions::default();
        outputs.push(Located::unplaced(Output::Image { names: Vec::new(), push: true, options }));
    }
}

fn take_push_away(outputs: &mut [Located<Output>]) {
    for output in outputs {
        if let Output::Image { push, .. } = &mut output.value {
            *push = false;
        }
    }
}

/// Adds a load into an engine, unless the outputs say already where the result goes.
fn add_load(outputs: &mut Vec<Located<Output>>) {
    let settled = outputs.iter().any(|output| match &output.value {
        Output::Docker { dest, .. } => dest.is_none(),
        Output::Local { .. } | Output::Tar { .. } | Output::CacheOnly => true,
        Output::Image { .. } | Output::Oci { .. } => false,
    });
    if !settled {
        let options = ExportOptions { oci_media_types: false, ..ExportOptions::default() };
        outputs.push(Located::unplaced(Output::Docker { dest: None, options }));
    }
}
