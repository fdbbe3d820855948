import Catalog
import Core
import Foundation

/// Registered models and versions as MLflow's REST API writes them.
enum MLflowJSON {
  static func model(_ model: RegisteredModel) -> JSON {
    var members: [JSON.Member] = [
      .init("name", .string(model.name)),
      .init("creation_timestamp", milliseconds(model.createdAt)),
      .init("last_updated_timestamp", milliseconds(model.updatedAt)),
    ]
    if let description = model.description, !description.isEmpty {
      members.append(.init("description", .string(description)))
    }
    members.append(.init("latest_versions", .array(latest(of: model).map(version))))
    members.append(.init("tags", tags(model.allTags)))
    members.append(
      .init(
        "aliases",
        .array(
          model.aliases.sorted { $0.key < $1.key }.map { alias, version in
            .object(["alias": .string(alias), "version": .string(String(version))])
          })))
    return .object(members)
  }

  static func version(_ version: RegisteredVersion) -> JSON {
    var members: [JSON.Member] = [
      .init("name", .string(version.model)),
      .init("version", .string(String(version.version))),
      .init("creation_timestamp", milliseconds(version.createdAt)),
      .init("last_updated_timestamp", milliseconds(version.updatedAt)),
      .init("current_stage", .string(MLflowStage(version.stage).rawValue)),
      .init("description", .string(version.description ?? "")),
      .init("source", .string(source(of: version))),
      .init("run_id", .string(version.runID)),
      .init("run_link", .string(version.runLink)),
      .init("status", .string("READY")),
    ]
    if let note = note(on: version) { members.append(.init("status_message", .string(note))) }
    members.append(.init("tags", tags(version.allTags)))
    members.append(.init("aliases", .array(version.aliases.map { .string($0) })))
    return .object(members)
  }

  /// The newest version of each stage, newest first.
  static func latest(of model: RegisteredModel) -> [RegisteredVersion] {
    var seen: Set<MLflowStage> = []
    return model.versions.filter { seen.insert(MLflowStage($0.stage)).inserted }
  }

  /// Where a client finds the artifact; of a version that the platform trained, at the platform.
  static func source(of version: RegisteredVersion) -> String {
    guard version.trained != nil else { return version.source }
    let name =
      version.model.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? version.model
    return "mlflow-artifacts:/models/\(name)/\(version.version)"
  }

  /// Why nothing of the version is served, where that may surprise.
  private static func note(on version: RegisteredVersion) -> String? {
    if !version.isDefined {
      return
        "in the registry only: there is no model '\(version.model)' in martlet.yaml, so Martlet does not serve it"
    }
    if version.trained == nil {
      return "in the registry only: the artifact is not in Martlet, so it cannot serve"
    }
    return nil
  }

  private static func tags(_ tags: [String: String]) -> JSON {
    .array(
      tags.sorted { $0.key < $1.key }.map { key, value in
        .object(["key": .string(key), "value": .string(value)])
      })
  }

  private static func milliseconds(_ time: Timestamp) -> JSON { .int(time.microseconds / 1_000) }
}

/// MLflow's four stages. The canary and shadows are shown as Staging; their tag `martlet.stage` has the stage itself.
enum MLflowStage: String, CaseIterable {
  case none = "None"
  case staging = "Staging"
  case production = "Production"
  case archived = "Archived"

  init(_ stage: ModelStage) {
    self =
      switch stage {
      case .registered: .none
      case .staging, .canary, .shadow: .staging
      case .production: .production
      case .archived: .archived
      }
  }

  init(parsing text: String) throws {
    guard let stage = Self.allCases.first(where: { $0.rawValue.lowercased() == text.lowercased() })
    else {
      throw MLflowError.invalid(
        "Invalid Model Version stage: \(text). Value must be one of "
          + "\(Self.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    self = stage
  }

  var stage: ModelStage {
    switch self {
    case .none: .registered
    case .staging: .staging
    case .production: .production
    case .archived: .archived
    }
  }
}
