//! What a person does with mouse and keyboard.

use std::time::Duration;

use fantoccini::Locator;
use fantoccini::actions::{
    ActionSequence, InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions,
    PointerAction,
};

use super::Browser;
use crate::support::fleet::eventually;

/// The Tab key.
pub(crate) const TAB: char = '\u{E004}';
/// The Enter key.
pub(crate) const ENTER: char = '\u{E007}';
/// Between the two clicks of somebody who double-clicks.
const DOUBLE_CLICK: Duration = Duration::from_millis(80);

impl Browser {
    /// Clicks on an element, and waits for what it leads to.
    pub(crate) fn follow(&self, id: &str) {
        self.to_another_page(|| self.click(id));
    }

    /// Waits until an element takes clicks: pages that come after a click take
    /// none at first.
    pub(crate) fn until_it_takes_clicks(&self, id: &str) {
        eventually(&format!("#{id} to take clicks"), || {
            let events = self.try_run(async |client| {
                let element = client.find(Locator::Id(id)).await?;
                element.css_value("pointer-events").await
            });
            (events.ok()? != "none").then_some(())
        });
    }

    /// Clicks on an element as soon as it takes clicks.
    pub(crate) fn click(&self, id: &str) {
        self.until_it_takes_clicks(id);
        let element = self.element(id);
        self.run(async |_| element.click().await);
    }

    /// Clicks twice in the same place, and waits for what it leads to.
    pub(crate) fn double_click(&self, id: &str) {
        self.to_another_page(|| {
            let pause = PointerAction::Pause {
                duration: DOUBLE_CLICK,
            };
            let mouse = self.mouse_at(id);
            self.perform(press(press(mouse).then(pause)));
        });
    }

    /// Clicks twice in the same place, so slowly that the second click meets
    /// the page to which the first one led.
    pub(crate) fn double_click_slowly(&self, id: &str) {
        self.to_another_page(|| self.perform(press(self.mouse_at(id))));
        self.perform(press(mouse()));
    }

    /// Replaces what is in an input.
    pub(crate) fn fill(&self, id: &str, text: &str) {
        let element = self.element(id);
        self.run(async |_| {
            element.clear().await?;
            element.send_keys(text).await
        });
    }

    /// Presses and releases these keys, whatever has the focus.
    pub(crate) fn press(&self, keys: &str) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for value in keys.chars() {
            actions = actions.then(KeyAction::Down { value });
            actions = actions.then(KeyAction::Up { value });
        }
        self.perform(actions);
    }

    /// The same, and waits for what it leads to.
    pub(crate) fn press_and_follow(&self, keys: &str) {
        self.to_another_page(|| self.press(keys));
    }

    fn mouse_at(&self, id: &str) -> MouseActions {
        self.until_it_takes_clicks(id);
        mouse().then(PointerAction::MoveToElement {
            element: self.element(id),
            duration: None,
            x: 0.0,
            y: 0.0,
        })
    }

    fn perform(&self, actions: impl Into<ActionSequence>) {
        let actions: ActionSequence = actions.into();
        self.run(async |client| client.perform_actions(actions).await);
    }
}

fn mouse() -> MouseActions {
    MouseActions::new("mouse".to_owned())
}

/// Presses the button and releases it.
fn press(mouse: MouseActions) -> MouseActions {
    let button = MOUSE_BUTTON_LEFT;
    mouse
        .then(PointerAction::Down { button })
        .then(PointerAction::Up { button })
}
