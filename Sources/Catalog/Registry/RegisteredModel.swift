import Core

/// A model as the registry has it, whether or not a definition of its name is in force.
package struct RegisteredModel: Sendable, Equatable {
  package var name: String
  package var description: String?
  package var createdAt: Timestamp
  package var updatedAt: Timestamp
  package var tags: [String: String]
  /// The version that each alias names, the alias of deployment among them.
  package var aliases: [String: Int64]
  /// False for a model that is in the registry only: nothing of it is served.
  package var isDefined: Bool
  /// Newest first; deleted ones are left out.
  package var versions: [RegisteredVersion]
}

/// A version as the registry has it: one that the platform trained, or one whose artifact is elsewhere.
package struct RegisteredVersion: Sendable, Equatable {
  package var model: String
  package var version: Int64
  package var stage: ModelStage
  package var description: String?
  /// Where the artifact is said to be; empty for a version that the platform trained.
  package var source: String
  package var runID: String
  package var runLink: String
  package var createdAt: Timestamp
  package var updatedAt: Timestamp
  package var tags: [String: String]
  /// Sorted.
  package var aliases: [String]
  /// What the platform trained; nil for a version that was registered from elsewhere and cannot serve.
  package var trained: ModelVersion?
  /// Whether a definition of the model's name is in force.
  package var isDefined: Bool

  /// Whether it may be brought to a stage that answers requests.
  package var canServe: Bool { trained != nil && isDefined }
}

/// A version whose artifact is elsewhere, before it has a number; see `RegisteredVersion` for the fields.
package struct NewRegisteredVersion: Sendable {
  package var model: String
  package var source: String
  package var runID: String
  package var runLink: String
  package var description: String?
  package var tags: [String: String]
  package var who: String

  package init(
    model: String, source: String, runID: String = "", runLink: String = "",
    description: String? = nil, tags: [String: String] = [:], who: String
  ) {
    self.model = model
    self.source = source
    self.runID = runID
    self.runLink = runLink
    self.description = description
    self.tags = tags
    self.who = who
  }
}

/// What a tag is on: a model, or one version of it.
package struct TagPlace: Sendable, Equatable {
  package var model: String
  package var version: Int64?

  package init(model: String, version: Int64? = nil) {
    self.model = model
    self.version = version
  }

  /// As the catalog stores it: version 0 is the model itself.
  var number: Int64 { version ?? 0 }
}
