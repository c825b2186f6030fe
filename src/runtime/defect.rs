//! Defects that a test can plant in the relay, to prove that the simulator would find them.

/// One of them. `tests/sim/planted.rs` plays each: one that it does not know does not compile, and one that nothing asks for is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// An outcome is lost.
    OutcomeLost,
    /// An outcome goes to another recipient.
    OutcomeAstray,
    /// A bounce comes after its outcome.
    BounceAfterOutcome,
    /// A handoff is repeated.
    HandoffRepeated,
    /// A moved message is freed early.
    MovedFreedEarly,
    /// A place is kept after its turn.
    PlaceKept,
    /// A place is taken again by who gave it back.
    PlaceTakenBack,
    /// A refusal out of step is believed.
    RefusalOutOfStep,
    /// A reply nobody asked for is kept.
    StrayReplyKept,
    /// A reply nobody asked for is taken for the answer to the next command.
    StrayBeforeCommand,
    /// An early reply is taken for the answer.
    EarlyReplyBelieved,
    /// A retry comes late.
    RetryLate,
    /// A retry is forgotten.
    RetryForgotten,
    /// A segment is recycled early.
    SegmentRecycledEarly,
    /// A segment that failed is taken for a full one.
    FailedSegmentSealed,
    /// A session has no end.
    SessionWithoutEnd,
    /// A wait follows the wall clock.
    WaitByWallClock,
    /// An address skips the gate.
    GateSkipped,
    /// Connections to an address are not counted.
    AddressUncounted,
    /// Messages and recipients of a client are not counted.
    ClientRateUncounted,
    /// What mail uses of a quota is not counted.
    QuotaForgotten,
    /// A merge is answered when the first of its messages is on disk.
    MergeAnsweredEarly,
    /// Nobody asks the service that is to be asked about each message.
    HookUnasked,
    /// Credits are not counted.
    CreditsUncounted,
    /// Messages of a connection are not counted.
    MessagesUncounted,
    /// What shaping files say of a site is not taken up.
    ShapingIgnored,
    /// What is suspended goes on.
    SuspensionForgotten,
    /// Recipients on the suppression list are taken.
    SuppressionUnasked,
    /// Mail that waits goes to who was suppressed meanwhile.
    SuppressedTried,
    /// A start does not tell again why a recipient was refused for good.
    ClassUntold,
    /// Mail of strangers goes on before it is verified.
    Unverified,
    /// Fields that pass for what was found here stay in mail of strangers.
    ForgedResultsKept,
    /// What is captured leaves the spool before it is kept.
    CaptureSettledFirst,
    /// What came back leaves the spool before the journal has it.
    FeedbackSettledFirst,
    /// What a source in warm-up sent is not counted.
    WarmupForgotten,
    /// Mail of a source that another stands in for waits for it all the same.
    FallbackForgotten,
    /// Rates are not kept to.
    RateUncounted,
    /// What a site refuses does not narrow what it gets.
    WindowDeaf,
    /// Connections to a provider are not counted.
    ProviderUncounted,
    /// Mail expires without a last try.
    ExpiredUntried,
    /// Slow names keep their places.
    SlowNamesKeepPlaces,
    /// The end found at start is not secured.
    EndNotSecured,
    /// The log has no order.
    LogWithoutOrder,
    /// What a kill took of the log is not told again.
    LogCutByKill,
    /// Outcomes that a kill took of the journal are not told again.
    OutcomesUntold,
    /// An outcome is told before it is on the disk.
    ToldUnwritten,
    /// A lane is vouched for before all shards have told what is in it.
    VouchedEarly,
    /// What finds no room on its way to the journal is dropped.
    OverflowDropped,
    /// New segments leave the journal no room.
    JournalWithoutRoom,
    /// What a hop takes too few of is forgotten.
    FewForgotten,
    /// What outcomes are about is forgotten.
    AboutForgotten,
    /// What was delivered is told when all is over.
    PartsToldLate,
    /// A task panics over what it returns: what it was at must not be lost.
    PanicOverReturn,
    /// What was lent is done again.
    LentDoneTwice,
    /// The first reply of a mail store to a body answers for all of its recipients.
    OneAnswerForAll,
    /// Parameters do not move with their message.
    ParametersStay,
    /// A start lets mail go whose hour has not come.
    HeldForgotten,
    /// A start lets mail go that an operator holds.
    HoldForgotten,
    /// What mail is rebound to is not written down.
    RebindForgotten,
    /// Attempts on mail that is handed over begin anew.
    AttemptsAnew,
    /// Mail that is handed over has its whole life before it again.
    LifeAnew,
    /// A node that is emptied takes mail.
    DrainTakesMail,
    /// A start hands out what a rule discards.
    DiscardedHandedOut,
    /// All shards but one keep the policy that was replaced.
    PolicyKept,
    /// A session takes up a new policy in the middle of a transaction.
    PolicyMixed,
    /// A policy that control gave up is taken up.
    GivenUpTakenUp,
    /// Another source is drawn after a start.
    SourceForgotten,
    /// A proxy through which no host greets is not found out.
    SilenceUncounted,
    /// Whose mail it is is forgotten: all of it is of one flow.
    FlowForgotten,
    /// Hops to the same hosts have limits of their own.
    HopsApart,
    /// Shares of tenants are those of each shard for itself.
    SharesOfShards,
    /// Shards that wait do not say for which campaign of a tenant.
    CampaignsOfShards,
    /// No connection is kept free for tenants that send now and then.
    NoSpareConnection,
    /// What a rate lets begin is the first shard's that asks, whoever's turn it is.
    RateOfShards,
    /// Queued mail goes on to where routes led before.
    RoutesKept,
    /// A page of the queue skips a domain.
    PageSkips,
    /// What sums up the queue skips a domain.
    SummarySkips,
    /// Senders are told of failures and delays whatever they asked for.
    NotifyIgnored,
    /// Each time that mail is late its sender is told so.
    LateToldAgain,
    /// What answers control panics in the middle: what it set aside must not be lost.
    AnswerBreaksOff,
    /// What an operator returned is told before it is on disk.
    ReturnedTooEarly,
    /// A segment is freed before its events are in the journal.
    FreedUntold,
    /// A refusal in place of a greeting is taken for one of all mail.
    GreetingBelieved,
    /// Room on a disk that was full is not noticed.
    RoomUnseen,
    /// What a class says of a reply is ignored where its code says something else.
    ClassIgnored,
    /// What rules say of a reply is not asked.
    RulesUnasked,
    /// Nobody asks when a message itself is to be tried again.
    ScheduleForgotten,
    /// Memory of a body whose client went away stays counted.
    MemoryKept,
    /// What came by BDAT of a message that was given up is kept, and stands in front of the next one.
    PortionsKept,
    /// A body that goes to the spool in pieces is signed without them.
    PieceNotSigned,
    /// A message that moves in the spool loses its signatures.
    SignatureLost,
    /// Mail that requires TLS goes to whoever takes it.
    TlsUnasked,
    /// Connections through a proxy are not counted for their clients.
    ProxyUncounted,
}
