import Catalog
import Core
import Foundation
import Testing

@Suite("Definitions")
struct DefinitionFileTests {
  @Test("a good file is read", arguments: DefinitionFixtures.names("good"))
  func goodFiles(name: String) throws {
    do {
      let project = try DefinitionFixtures.good(name)
      #expect(!project.name.isEmpty)
    } catch let errors as DefinitionErrors {
      Issue.record("\(name): \(errors)")
    }
  }

  @Test(
    "a bad file is refused with every error in its place",
    arguments: DefinitionFixtures.names("bad"))
  func badFiles(name: String) throws {
    let expected = try DefinitionFixtures.expected(name).trimmingCharacters(in: .newlines)
    do {
      _ = try DefinitionFixtures.parse(DefinitionFixtures.bytes("bad", name))
      Issue.record("\(name) was accepted")
    } catch let errors as DefinitionErrors {
      #expect(errors.description == expected, "\(name)")
    }
  }

  @Test("there are at least thirty bad files")
  func enoughBadFiles() {
    #expect(DefinitionFixtures.names("bad").count >= 30)
  }

  @Test("a definition survives its JSON form", arguments: DefinitionFixtures.names("good"))
  func jsonRoundTrip(name: String) throws {
    let project = try DefinitionFixtures.good(name)
    let data = try JSONEncoder().encode(project)
    #expect(try JSONDecoder().decode(ProjectDefinition.self, from: data) == project)
  }
}

@Suite("What definitions mean")
struct DefinitionMeaningTests {
  @Test("the flights example becomes typed values")
  func flights() throws {
    let project = try DefinitionFixtures.good("flights")
    #expect(project.name == "flights")
    #expect(project.entity("route")?.key == ["origin", "dest"])
    let arrivals = try #require(project.source("arrivals"))
    #expect(arrivals.eventTime == "arrived_at")
    #expect(arrivals.eventID == "flight_id")
    #expect(arrivals.retention == .days(400))
    #expect(arrivals.transform == CodeReference(file: "transforms.py", function: "enrich"))
    #expect(
      arrivals.checks == [
        ColumnCheck(column: "arr_delay", min: -200, max: 2500),
        ColumnCheck(column: "carrier", required: true),
      ])
    let view = try #require(project.view("carrier_delays"))
    #expect(view.feature("last_delay")?.kind == .latest(column: "arr_delay", ttl: .days(7)))
    #expect(view.feature("arrivals_24h")?.type == .int64)
    #expect(view.feature("mean_delay_24h")?.type == .double)
    #expect(view.feature("late_share_24h")?.type == .double)
    guard case .window(let late)? = view.feature("late_24h")?.kind else {
      Issue.record("late_24h is not a window")
      return
    }
    #expect(late.function == .count)
    #expect(late.column == nil)
    #expect(late.filter?.text == "arr_delay > 15")
    #expect(late.length == .hours(24))
    #expect(late.resolution == .hours(1))
  }

  @Test("a model's vector keeps its order, and derived values carry what they are made of")
  func vector() throws {
    let model = try #require(try DefinitionFixtures.good("flights").model("late_arrival"))
    #expect(
      model.features.map(\.name) == [
        "carrier_delays.late_share_24h", "airport_delays.mean_delay_3h",
        "airport_delays.against_carrier", "hour", "is_night", "distance",
      ])
    #expect(model.features.map(\.type) == [.double, .double, .double, .int64, .bool, .double])
    let night = try #require(model.features.first { $0.name == "is_night" })
    guard case .derived(let expression) = night.origin else {
      Issue.record("is_night is not derived")
      return
    }
    #expect(expression.names == ["scheduled_hour"])
    #expect(model.features.last?.origin == .input)
    #expect(model.entities == ["carrier", "airport"])
    #expect(model.missing.rule(for: "distance") == .error)
    #expect(model.missing.rule(for: "airport_delays.mean_delay_3h") == .value(0))
    #expect(model.missing.rule(for: "hour") == .null)
  }

  @Test("training, label and drift are read with their defaults")
  func training() throws {
    let flights = try #require(try DefinitionFixtures.good("flights").model("late_arrival"))
    #expect(flights.train?.holdout == 0.25)
    #expect(flights.train?.zone == "America/New_York")
    #expect(
      flights.train?.parameters
        == #"{"deep":[1,null,true],"objective":"binary","rate":0.05,"trees":200}"#)
    #expect(flights.label?.join == "flight_id")
    #expect(flights.drift?.coolDown == .hours(6))
    let churn = try #require(try DefinitionFixtures.good("shop").model("churn"))
    #expect(churn.train?.metric == .logLoss)
    #expect(churn.train?.zone == "UTC")
    #expect(churn.train?.parameters == "{}")
    #expect(churn.label?.join == nil)
    #expect(churn.drift?.minimumRows == 200)
    #expect(churn.missing.default == .value(0))
  }

  @Test("a column that is only the event time is not stored twice")
  func eventTimeColumn() throws {
    let outcomes = try #require(try DefinitionFixtures.good("shop").source("outcomes"))
    #expect(outcomes.columns.map(\.name) == ["customer_id", "as_of", "churned"])
  }

  @Test("every refused definition names the file")
  func platformError() {
    #expect {
      try DefinitionFixtures.parse("project: 1x\nviewz: 1\n")
    } throws: { error in
      guard let errors = error as? DefinitionErrors else { return false }
      return errors.platformError.code == .invalidDefinition
        && errors.platformError.message.hasSuffix("2 errors; nothing was applied")
    }
  }

  @Test("a folder without the file is told what to do")
  func noFile() {
    #expect {
      _ = try DefinitionFile.bytes(in: "/nowhere")
    } throws: { ($0 as? PlatformError)?.message.contains("martlet init") == true }
  }
}
