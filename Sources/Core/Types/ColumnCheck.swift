/// What becomes of a record that fails a check.
package enum FailAction: String, Sendable, Equatable, Codable, CaseIterable {
  /// It is stored, counted, and listed in the receipt.
  case warn
  case quarantine
  /// Nothing of its push or file is stored.
  case stop
}

/// What a column's value must satisfy. Null and absent values pass everything but `required`.
package struct ColumnCheck: Sendable, Equatable, Codable {
  package var column: String
  package var required: Bool
  package var min: Double?
  package var max: Double?
  /// The only values allowed, as text; for a column of numbers each is one.
  package var allowed: [String]?
  /// A `Pattern` that the whole text must match.
  package var regex: String?
  /// No other event of the source with the same value is nearer in event time than this.
  package var unique: Span?
  package var onFail: FailAction

  package init(
    column: String, required: Bool = false, min: Double? = nil, max: Double? = nil,
    allowed: [String]? = nil, regex: String? = nil, unique: Span? = nil,
    onFail: FailAction = .quarantine
  ) {
    self.column = column
    self.required = required
    self.min = min
    self.max = max
    self.allowed = allowed
    self.regex = regex
    self.unique = unique
    self.onFail = onFail
  }

  /// Definitions that were stored before `on_fail` could be said are read as what they meant.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    column = try values.decode(String.self, forKey: .column)
    required = try values.decode(Bool.self, forKey: .required)
    min = try values.decodeIfPresent(Double.self, forKey: .min)
    max = try values.decodeIfPresent(Double.self, forKey: .max)
    allowed = try values.decodeIfPresent([String].self, forKey: .allowed)
    regex = try values.decodeIfPresent(String.self, forKey: .regex)
    unique = try values.decodeIfPresent(Span.self, forKey: .unique)
    onFail = try values.decodeIfPresent(FailAction.self, forKey: .onFail) ?? .quarantine
  }
}
