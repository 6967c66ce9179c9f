// Runs a script on an object as Argo CD does: with three libraries, an object as `obj`, for at most a second. Standard input has
// {"script": …, "object": …}; what the script returns is printed as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

func run() error {
	var asked struct {
		Script string          `json:"script"`
		Object json.RawMessage `json:"object"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	libraries := map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	}
	for _, name := range []string{lua.LoadLibName, lua.BaseLibName, lua.TabLibName} {
		call := lua.P{Fn: state.NewFunction(libraries[name]), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	object, err := luajson.Decode(state, asked.Object)
	if err != nil {
		return err
	}
	state.SetGlobal("obj", object)
	if err := state.DoString(asked.Script); err != nil {
		return err
	}
	given, err := luajson.Encode(state.Get(-1))
	if err != nil {
		return err
	}
	fmt.Println(string(given))
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
