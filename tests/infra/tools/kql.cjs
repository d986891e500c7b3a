// Hold Kusto queries, one JSON list of {name, query} on standard input, against the Application Insights tables that
// they read; prints a JSON list of {name, message}. Microsoft's own parser and semantic analysis.
const { createRequire } = require("node:module");
const load = createRequire(process.cwd() + "/");
load("@kusto/language-service-next/bridge.min.js");
load("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const TABLES = {
  traces: {
    timestamp: "datetime", message: "string", severityLevel: "int", itemType: "string", customDimensions: "dynamic",
    customMeasurements: "dynamic", operation_Name: "string", operation_Id: "string", operation_ParentId: "string",
    cloud_RoleName: "string", cloud_RoleInstance: "string", appId: "string", appName: "string", itemId: "string",
    itemCount: "int",
  },
  exceptions: {
    timestamp: "datetime", problemId: "string", type: "string", assembly: "string", method: "string",
    outerType: "string", outerMessage: "string", innermostType: "string", innermostMessage: "string",
    severityLevel: "int", details: "dynamic", itemType: "string", customDimensions: "dynamic",
    operation_Name: "string", operation_Id: "string", cloud_RoleName: "string", cloud_RoleInstance: "string",
    itemId: "string", itemCount: "int",
  },
  requests: {
    timestamp: "datetime", id: "string", name: "string", url: "string", success: "string", resultCode: "string",
    duration: "real", performanceBucket: "string", itemType: "string", customDimensions: "dynamic",
    operation_Name: "string", operation_Id: "string", cloud_RoleName: "string", cloud_RoleInstance: "string",
    itemId: "string", itemCount: "int",
  },
};

const { Symbols, KustoCode, GlobalState } = Kusto.Language;
const tables = Object.entries(TABLES).map(([name, columns]) => {
  const schema = Object.entries(columns).map(([column, type]) => `${column}: ${type}`).join(", ");
  return new Symbols.TableSymbol.$ctor7(name, `(${schema})`, null);
});
const database = new Symbols.DatabaseSymbol.$ctor1("insights", tables, false);
const globals = GlobalState.Default.WithDatabase(database);

const findings = [];
for (const { name, query } of JSON.parse(require("node:fs").readFileSync(0, "utf8"))) {
  const diagnostics = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  for (let index = 0; index < diagnostics.Count; index += 1) {
    const found = diagnostics.getItem(index);
    findings.push({ name, message: `${found.Severity}: ${found.Message} at ${found.Start}` });
  }
}
process.stdout.write(JSON.stringify(findings));
