import Core
import Logging

/// What a process does for the erasures that others lead, and for its own that were left.
extension EntityErasure {
  private static let signs = (every: Duration.seconds(2), last: Span.seconds(10))
  private static let pauses = (busy: Duration.milliseconds(50), idle: Duration.milliseconds(500))
  /// Longer than a leader waits for others.
  private static let round = Duration.seconds(120)

  /// Says that this process is there, and does its part of erasures, until the task is cancelled.
  ///
  /// - Parameter name: where this process is, for people.
  package func takePart(as name: String) async {
    guard let board else { return }
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        while !Task.isCancelled {
          try? await board.store.announce(name, for: Self.signs.last)
          try? await Task.sleep(for: Self.signs.every)
        }
      }
      group.addTask {
        await askAgain(board)
        while !Task.isCancelled {
          let isBusy = await look(board)
          try? await Task.sleep(for: isBusy ? Self.pauses.busy : Self.pauses.idle)
        }
      }
    }
  }

  /// What this process leads stands in its warehouse; a store that lost it is told again.
  private func askAgain(_ board: ErasureBoard) async {
    do {
      let known = Set(try await board.requests().map(\.id))
      for pending in try await Self.pending(ingestor.warehouse)
      where !pending.asked.isEmpty && !known.contains(pending.receipt.id) {
        try await board.post(request(pending, board), pending.waits ? .waiting : .removing)
      }
    } catch {
      log.warning("erasures that were begun could not be asked for again: \(error)")
    }
  }

  /// Whether something is under way.
  private func look(_ board: ErasureBoard) async -> Bool {
    var isBusy = false
    do {
      for request in try await board.requests() where request.concerns(board.here) {
        do {
          if request.leader == board.here {
            try await goOn(request, board)
          } else {
            isBusy = try await takePart(in: request, board) || isBusy
          }
        } catch {
          if Task.isCancelled { return false }
          log.debug("an erasure could not be gone on with: \(error)")
        }
      }
    } catch {
      log.debug("erasures of other processes could not be looked at: \(error)")
    }
    return isBusy
  }

  /// Leads on what a crash, or a process that was away, left unfinished.
  private func goOn(_ request: ErasureRequest, _ board: ErasureBoard) async throws {
    if let pending = try await pending(request), pending.waits {
      let state = try await board.state(of: request.id)
      let there = try await board.store.processes().filter(\.isThere).map(\.warehouse)
      let isComplete = request.asked.allSatisfy {
        state.answer(of: $0) != nil && there.contains($0)
      }
      guard isComplete else { return }
    }
    // Refused where this process is at it.
    try await alone(board, patience: .zero) {
      guard let left = try await pending(request) else {
        // It ended before anything was removed, or when all was.
        return try await board.withdraw(request.id)
      }
      let receipt = try await lead(left, board)
      if receipt.isDone { log.notice("an erasure was finished", metadata: ["id": "\(receipt.id)"]) }
    }
  }

  private func pending(_ request: ErasureRequest) async throws -> PendingErasure? {
    try await Self.pending(ingestor.warehouse).first { $0.receipt.id == request.id }
  }

  /// Whether the leader will soon ask for more.
  private func takePart(in request: ErasureRequest, _ board: ErasureBoard) async throws -> Bool {
    let state = try await board.state(of: request.id)
    guard let phase = state.phase else { return false }
    if phase == .asking {
      if state.ready(board.here) == nil {
        try await board.sayReady(request.id, views: names(try concerned(request.subject)))
      }
      return true
    }
    if state.answer(of: board.here) == nil {
      try await removeHere(request, board)
      return true
    }
    if case .renewing(let id) = phase, let round = state.round, round.id == id,
      state.joined(board.here) != id
    {
      try await join(round, of: request, board)
    }
    return phase != .waiting
  }

  /// Removes the key from this process's own places, and says so.
  private func removeHere(_ request: ErasureRequest, _ board: ErasureBoard) async throws {
    var pending = try await ingestor.pause { [self] in
      var transaction = try await transaction(
        request.subject, id: request.id, at: request.erasedAt)
      transaction.isLedElsewhere = true
      online.noteErasure()
      return try await remove(transaction)
    }
    try await eraseElsewhere(&pending)
    try await note(pending)
    try await board.say(
      ErasureAnswer(removed: pending.receipt.removed, keys: pending.online), of: request.id)
    _ = try await close(pending)
    log.notice(
      "erased a key that another process was asked to erase", metadata: ["id": "\(request.id)"])
  }

  /// Brings this warehouse's events of some keys into their new states, and takes no others until these are in their place.
  private func join(
    _ round: ErasureRound, of request: ErasureRequest, _ board: ErasureBoard
  ) async throws {
    let isStopped = StopSign()
    try await withTaskCancellationHandler {
      try await ingestor.pause { [self] in
        try await online.still {
          online.noteErasure()
          do {
            for renewal in round.renewals {
              try await online.contribute(to: renewal, in: board.store)
            }
            try await board.sayJoined(round, of: request.id)
            if try await isOver(round, of: request, board, isStopped) { return }
          } catch {
            await giveUp(round, board, isStopped)
            throw error
          }
          await giveUp(round, board, isStopped)
        }
      }
    } onCancel: {
      isStopped.set()
    }
  }

  /// Whether the leader has ended a round; false where that is not to be waited for.
  private func isOver(
    _ round: ErasureRound, of request: ErasureRequest, _ board: ErasureBoard,
    _ isStopped: StopSign
  ) async throws -> Bool {
    let end = ContinuousClock.now + Self.round
    while !isStopped.isSet, ContinuousClock.now < end {
      guard try await board.state(of: request.id).phase == .renewing(round.id) else { return true }
      guard try await board.isThere(request.leader) else { return false }
      try await Task.sleep(for: .milliseconds(20))
    }
    return false
  }
}
