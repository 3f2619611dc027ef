//! The exchange's errors, mapped to what is to be done about them.

use crate::command::{Outcome, VenueError};
use crate::time::{Span, Ts};

/// What an error of the exchange means for the request that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It had no effect, for certain.
    Refused,
    /// It had no effect, and by the contract as we know it it should have passed: a filter, a bracket or the contract's state
    /// has changed. Learn the definitions anew.
    Definition,
    /// It may have had effect: ask before anything else.
    Unknown,
    /// Too many requests; it had no effect. Nothing may be sent until the pause is over.
    RateLimited,
    /// Our clock is off: measure the offset anew; it had no effect.
    Clock,
    /// Key, signature or permission: no order will pass until a person mends it; it had no effect.
    Credentials,
    /// The listen key does not exist: make a new one.
    ListenKey,
}

/// The meaning of an HTTP status and the exchange's code (0 or the negated status when the body had none) and text.
///
/// 503 has three forms: "Unknown error…" leaves it open, "Service Unavailable" and -1008 mean that it was not executed.
pub fn meaning(status: u16, code: i32, message: &str) -> Meaning {
    match (status, code) {
        // UNEXPECTED_RESP, TIMEOUT.
        (_, -1006 | -1007) => Meaning::Unknown,
        // The client id is taken by an open order: ours are never used twice, so that order is this one.
        (_, -4116) => Meaning::Unknown,
        (_, -2010) if message.contains("uplicate") => Meaning::Unknown,
        // INVALID_TIMESTAMP, and the same at the matching engine.
        (_, -1021 | -5028) => Meaning::Clock,
        // UNAUTHORIZED, NON_WHITE_LIST, signature, key's form, key or address or permission, key locked, account without the
        // permission to place orders, inactive, cooling off, in breach of rules, terms of the contract type not signed.
        (_, -1002 | -1011 | -1022 | -2014 | -2015 | -2017 | -4087 | -4088 | -4109 | -4192) => Meaning::Credentials,
        (_, -4403..=-4400 | -4411) => Meaning::Credentials,
        (_, -1125) => Meaning::ListenKey,
        (429 | 418, _) | (_, -1003 | -1015) => Meaning::RateLimited,
        // Throttled by the system.
        (_, -1008) => Meaning::Refused,
        (_, code) if is_of_definition(code) => Meaning::Definition,
        (503, _) if message.contains("Service Unavailable") => Meaning::Refused,
        // 408: the backend did not answer in time. -1000 UNKNOWN and -1001 DISCONNECTED say themselves that they do not know.
        (408 | 500..=599, _) | (_, -1000 | -1001) => Meaning::Unknown,
        (400..=499, _) => Meaning::Refused,
        // Anything else was not made by the exchange's order system; assume the worse.
        _ => Meaning::Unknown,
    }
}

/// Whether a refusal is by what `exchangeInfo` and the leverage brackets tell, which the gate has checked by its own knowledge.
fn is_of_definition(code: i32) -> bool {
    matches!(
        code,
        // Filter failure, precision, no such symbol, the symbol's state.
        -1013 | -1111 | -1121 | -1122 | -4140 | -4141
        // PRICE_FILTER: above the highest (trigger price too), below the lowest, not on the tick; the tick's decimals.
        | -4002 | -4007 | -4013 | -4014 | -4029
        // LOT_SIZE: below, above, not on the step; the step's decimals.
        | -4004 | -4005 | -4023 | -4030
        // PERCENT_PRICE: above, below.
        | -4016 | -4024
        // Open orders, conditional orders, notional value, leverage bracket.
        | -2025 | -4045 | -4164 | -2027
    )
}

/// The outcome of a command that was answered with an error.
pub fn outcome(status: u16, error: VenueError, retry_after: Option<Span>, now: Ts) -> Outcome {
    match meaning(status, error.code, &error.message) {
        Meaning::Unknown => Outcome::Unknown(error),
        Meaning::RateLimited => Outcome::Limited(now.plus(retry_after.unwrap_or(Span::from_secs(1)))),
        Meaning::Refused | Meaning::Definition | Meaning::Clock | Meaning::Credentials | Meaning::ListenKey => {
            Outcome::Rejected(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every status and code of which the exchange's reference says what it means for an order.
    #[test]
    fn each_error_has_its_meaning() {
        use Meaning::{Clock, Credentials, Definition, ListenKey, RateLimited, Refused, Unknown};
        for (status, code, text, expected) in [
            // What may have happened is never taken as refused.
            (503, 0, "Unknown error, please check your request or try again later.", Unknown),
            (408, -1007, "Timeout waiting for response from backend server.", Unknown),
            (408, 0, "", Unknown),
            (400, -1006, "An unexpected response was received from the message bus.", Unknown),
            (400, -1000, "An unknown error occurred while processing the request.", Unknown),
            (400, -1001, "Internal error; unable to process your request. Please try again.", Unknown),
            (504, 0, "", Unknown),
            (502, -502, "<html>", Unknown),
            (302, 0, "", Unknown),
            (400, -4116, "clientOrderId is duplicated", Unknown),
            (400, -2010, "Duplicate order sent.", Unknown),
            // What has not happened.
            (503, 0, "Service Unavailable.", Refused),
            (503, -1008, "Request throttled by system-level protection.", Refused),
            (400, -2010, "Account has insufficient balance for requested action.", Refused),
            (400, -2011, "Unknown order sent.", Refused),
            (400, -2013, "Order does not exist.", Refused),
            (400, -2018, "Balance is insufficient.", Refused),
            (400, -2019, "Margin is insufficient.", Refused),
            (400, -2020, "Unable to fill.", Refused),
            (400, -2021, "Order would immediately trigger.", Refused),
            (400, -2022, "ReduceOnly Order is rejected.", Refused),
            (400, -2023, "User in liquidation mode now.", Refused),
            (400, -4061, "Order's position side does not match user's setting.", Refused),
            (400, -4067, "Position side cannot be changed if there exists open orders.", Refused),
            (400, -4068, "Position side cannot be changed if there exists position.", Refused),
            (400, -4117, "Stop order is triggering.", Refused),
            (400, -4118, "ReduceOnly margin check failed.", Refused),
            (
                400,
                -4120,
                "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
                Refused,
            ),
            (400, -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.", Refused),
            (400, -5021, "Due to the order could not be filled immediately, the FOK order has been rejected.", Refused),
            (
                400,
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be rejected.",
                Refused,
            ),
            (400, -5025, "Only limit order is supported.", Refused),
            (400, -5026, "Exceed maximum modify order limit.", Refused),
            (400, -5027, "No need to modify the order.", Refused),
            (400, -5047, "reduceOnly cannot be changed", Refused),
            (403, -403, "<html>", Refused),
            (404, -5000, "Path /fapi/v1/x, Method GET is invalid", Refused),
            // What the definitions should have told before.
            (400, -1013, "Invalid message.", Definition),
            (400, -1111, "Precision is over the maximum defined for this asset.", Definition),
            (400, -1121, "Invalid symbol.", Definition),
            (400, -1122, "Invalid symbolStatus.", Definition),
            (400, -2025, "Reach max open order limit.", Definition),
            (400, -2027, "Exceeded the maximum allowable position at current leverage.", Definition),
            (400, -4002, "Price greater than max price.", Definition),
            (400, -4004, "Quantity less than min quantity.", Definition),
            (400, -4005, "Quantity greater than max quantity.", Definition),
            (400, -4007, "Stop price greater than max price.", Definition),
            (400, -4013, "Price less than min price.", Definition),
            (400, -4014, "Price not increased by tick size.", Definition),
            (400, -4016, "Limit price can't be higher than the cap.", Definition),
            (400, -4023, "Quantity not increased by step size.", Definition),
            (400, -4024, "Limit price can't be lower than the floor.", Definition),
            (400, -4045, "Reach max stop order limit.", Definition),
            (400, -4140, "Invalid symbol status for opening position.", Definition),
            (400, -4141, "Symbol is closed.", Definition),
            (400, -4164, "Order's notional must be no smaller than 5.0 (unless you choose reduce only).", Definition),
            // What a clock, a person or time has to mend.
            (400, -1021, "Timestamp for this request is outside of the recvWindow.", Clock),
            (400, -5028, "Timestamp for this request is outside of the ME recvWindow.", Clock),
            (401, -1002, "You are not authorized to execute this request.", Credentials),
            (400, -1022, "Signature for this request is not valid.", Credentials),
            (401, -2014, "API-key format invalid.", Credentials),
            (401, -2015, "Invalid API-key, IP, or permissions for action.", Credentials),
            (400, -2017, "API Keys are locked on this account.", Credentials),
            (400, -4088, "User can not place order currently.", Credentials),
            (400, -4400, "Futures Trading Quantitative Rules violated.", Credentials),
            (400, -4411, "Please sign the agreement first.", Credentials),
            (429, -1003, "Too many requests.", RateLimited),
            (429, -1015, "Too many new orders.", RateLimited),
            (400, -1015, "Too many new orders.", RateLimited),
            (418, -418, "banned", RateLimited),
            (400, -1125, "This listenKey does not exist.", ListenKey),
        ] {
            assert_eq!(meaning(status, code, text), expected, "{status} {code} {text}");
        }
    }
}
