import Core

/// An inference request of the Open Inference Protocol, whichever way it came.
package struct InferenceCall: Sendable {
  /// An output that the caller wants.
  package struct Output: Sendable {
    package var name: String
    /// Nil goes by the request's `binary_data_output`.
    package var isBinary: Bool?

    package init(name: String, isBinary: Bool? = nil) {
      self.name = name
      self.isBinary = isBinary
    }
  }

  package var id: String?
  /// An object.
  package var parameters: JSON = .object([JSON.Member]())
  package var inputs: [Tensor] = []
  /// Empty is the default ones.
  package var outputs: [Output] = []

  package init() {}

  /// Microseconds, as Triton counts them; nil where the caller set none.
  ///
  /// - Throws: `invalid_argument` for what is no length of time.
  package func timeout() throws(PlatformError) -> Span? {
    guard let given = parameters["timeout"], given != .null else { return nil }
    guard let microseconds = given.int ?? given.string.flatMap({ Int64($0) }), microseconds >= 0
    else {
      throw PlatformError(
        .invalidArgument,
        "the parameter 'timeout' must be a whole number of microseconds, not \(given.text)")
    }
    return microseconds == 0 ? nil : Span(microseconds: microseconds)
  }

  /// `high`, `normal` or `low`, or a number as Triton has it: 1 goes first, 0 is the default, and above 1 is behind; nil where
  /// the caller says nothing.
  package func priority() throws -> CallPriority? {
    switch parameters["priority"] {
    case nil, .null?, .int(0)?: return nil
    case .int(1)?: return .high
    case .int(let number)? where number > 1: return .low
    case .string(let text)?: return try CallPriority(named: text, in: "the parameter 'priority'")
    case let other?:
      throw PlatformError(
        .invalidArgument,
        "the parameter 'priority' must be high, normal, low, or a whole number, not \(other.text)")
    }
  }

  /// Whether outputs are binary that do not say.
  package var wantsBinary: Bool { parameters["binary_data_output"]?.bool ?? false }

  /// Refuses what the platform has no answer to, rather than answering as if it had not been asked.
  package func checkParameters() throws(PlatformError) {
    for name in ["sequence_id", "sequence_start", "sequence_end"] {
      guard let given = parameters[name], given != .bool(false), given != .int(0),
        given != .string("")
      else { continue }
      throw PlatformError(
        .invalidArgument, "models have no state here: leave out the parameter '\(name)'")
    }
  }

  /// Two tensors of one name leave open which is meant.
  func checkNames() throws(PlatformError) {
    var seen: Set<String> = []
    for input in inputs where !seen.insert(input.name).inserted {
      throw PlatformError(.invalidArgument, "the tensor '\(input.name)' is sent twice")
    }
  }
}
