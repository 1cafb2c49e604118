//! Makes a failing plan small: steps are left out, and what is left is made plain, for as long as it still fails.

use crate::plan::{Act, Fetching, Plan, Writing};

/// The smallest plan that was found from here on. `fails` says whether one still does.
pub fn shrink(plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut plan = without_steps(plan, &fails);
    for number in 0..plan.steps.len() {
        for plainer in plainer(&plan, number) {
            if fails(&plainer) {
                plan = plainer;
            }
        }
    }
    without_steps(plan, &fails)
}

/// Leaves out ever smaller runs of steps (delta debugging).
fn without_steps(mut plan: Plan, fails: &impl Fn(&Plan) -> bool) -> Plan {
    let mut run = plan.steps.len().div_ceil(2);
    while run > 0 {
        let mut at = 0;
        while at < plan.steps.len() {
            let mut fewer = plan.clone();
            fewer.steps.drain(at..(at + run).min(plan.steps.len()));
            if fails(&fewer) {
                plan = fewer;
            } else {
                at += run;
            }
        }
        run /= 2;
    }
    plan
}

/// The same plan with one thing about a step left out, each in turn; each builds on those before it that still failed.
fn plainer(plan: &Plan, number: usize) -> Vec<Plan> {
    let step = plan.steps[number];
    let plain_act = match step.act {
        Act::Read { key, .. } => Act::Read { key, conditional: false, fetching: Fetching::Answers },
        Act::Write { change, .. } => Act::Write { change, writing: Writing::Applies, large: false },
        Act::Jump(_) => Act::Jump(0),
    };
    let mut plans = Vec::new();
    for plainer in [
        crate::plan::Step { act: plain_act, ..step },
        crate::plan::Step { leaves: None, ..step },
        crate::plan::Step { before: 0, ..step },
        crate::plan::Step { after: 0, ..step },
        crate::plan::Step { caller: 0, ..step },
    ] {
        let mut plan = plan.clone();
        plan.steps[number] = plainer;
        plans.push(plan);
    }
    plans
}
