//! The proof that a command may leave.

use qcat_core::command::VenueCommand;

/// A command that the journal holds as durably as the configuration wants. Only the lane can build one.
///
/// ```compile_fail
/// use qcat_actors::runtime::lane::Released;
/// fn forge(command: qcat_core::command::VenueCommand) -> Released {
///     Released(command)
/// }
/// ```
#[derive(Debug)]
pub struct Released(pub(in crate::runtime::lane) VenueCommand);

impl Released {
    /// The command.
    pub fn command(&self) -> &VenueCommand {
        &self.0
    }

    /// Takes the command out, to send it.
    pub fn into_command(self) -> VenueCommand {
        self.0
    }
}

/// Sends the commands of one account. Called on the lane's thread; it may offer inputs, and must not wait.
pub trait VenueWriter {
    /// Sends a command. Whatever becomes of it is offered to the lane as outcome or answer.
    fn send(&self, command: Released);
}
